//! Real text trains a small model: the loss falls, and held-out perplexity is reported. Needs the shared corpora.

use std::path::PathBuf;

use crate::support::{Folder, coppice, json_of};

/// Perplexity of a byte model that knows only how frequent each byte is in English text: 2^4.5 bits (English letters carry about 4.2,
/// with blanks, capitals and punctuation about 4.5).
const UNIGRAM_PERPLEXITY: f64 = 22.6;

/// `COPPICE_DATA`, else `shared/data` beside the workspace.
fn data() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("COPPICE_DATA").map_or_else(beside, PathBuf::from);
    let found = data.join("corpus/small/small-en-train.jsonl.zst").is_file();
    if !found {
        eprintln!("SKIPPED: no corpora in {}; name their folder in COPPICE_DATA", data.display());
    }
    found.then_some(data)
}

#[test]
fn real_text_is_learned() {
    let Some(data) = data() else { return };
    let folder = Folder::with_model();
    let (model, corpus) = (folder.arg("model"), data.join("corpus/small"));
    let recipe = format!(
        "[model]\nconfig = \"{model}/config.json\"\ntokenizer = \"{model}\"\n\n[data]\ntrain = [\"{0}/small-en-valid.jsonl.zst\"]\n\
         valid = [\"{0}/small-en-valid.jsonl.zst\"]\n\n[train]\nsteps = 150\nsequence_length = 64\nbatch_size = 16\n\
         schedule = {{ peak = 1e-2, warmup_steps = 10 }}\nvalidation = {{ max_tokens = 20000 }}\n",
        corpus.display()
    )
    .replacen("small-en-valid", "small-en-train", 1);
    let recipe = folder.write("recipe.toml", recipe);
    let outcome = json_of(&mut coppice(["train", &recipe, "--json", "--output", &folder.arg("run")]));
    let losses: Vec<f64> = folder.lines("run/metrics.jsonl").iter().filter_map(|line| line["loss"].as_f64()).collect();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&losses[140..]) < mean(&losses[..10]) - 2.0, "{losses:?}");
    let perplexity = outcome["validation"]["perplexity"].as_f64().unwrap();
    eprintln!("validation perplexity {perplexity:.2} per byte token");
    assert!(perplexity < UNIGRAM_PERPLEXITY, "{perplexity}");
}
