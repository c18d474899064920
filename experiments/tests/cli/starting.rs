//! `train` from an optimizer state: what is refused with one sentence and nothing written, and what is said and kept where it is not.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::checkpoint::{SIZES, tensors};
use crate::support::{Folder, coppice, done, json_of, pickle, refused, stderr};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../upcycle/tests/golden/deepspeed").join(name)
}

/// A recipe of two steps on the checkpoint `model` with more lines for its table.
fn recipe(folder: &Folder, model: &str, lines: &str) -> String {
    let tokens: String = (0..40).map(|n| format!("{{\"text\":\"Document {n} counts to {}.\"}}\n", n * 7)).collect();
    let (corpus, checkpoint, tokenizer) = (folder.write("train.jsonl", tokens), folder.arg(model), folder.arg("model"));
    let text = format!(
        "[model]\ncheckpoint = \"{checkpoint}\"\ntokenizer = \"{tokenizer}\"\n{lines}\n\n[data]\ntrain = [\"{corpus}\"]\n\n\
         [train]\nsteps = 2\nsequence_length = 32\nbatch_size = 4\nschedule = {{ peak = 1e-3 }}\n"
    );
    folder.write("recipe.toml", text)
}

/// What `train` says of a recipe, which must leave the folder as it is.
fn refusal(folder: &Folder, model: &str, lines: &str) -> String {
    let recipe = recipe(folder, model, lines);
    let before = folder.names();
    let told = refused(&mut coppice(["train", &recipe, "--output", &folder.arg("run")]));
    assert_eq!(folder.names(), before);
    told
}

fn named(path: &Path) -> String {
    format!("optimizer_state = {:?}", path.to_str().unwrap())
}

#[test]
fn a_state_that_cannot_be_used_is_refused_in_one_sentence() {
    let folder = Folder::with_model();
    let whole = fs::read(golden("named.pt")).unwrap();
    let cut = folder.write("cut.pt", &whole[..whole.len() / 2]);
    let text = folder.write("text.pt", "weights");
    for (path, words) in [
        (Path::new(&cut), "not a whole file of torch.save"),
        (Path::new(&text), "not a whole file of torch.save"),
        (&golden("hostile/posix.system.pt"), "it names posix.system"),
        (&golden("hostile/builtins.eval.pt"), "it names builtins.eval"),
        (&golden("named.pt"), "model.embed_tokens.weight has 104 elements there, expected 8448"),
        (&golden("merged"), "another model"),
        (&golden("none.pt"), "No such file"),
        (&folder.path("model"), "no file called"),
    ] {
        let told = refusal(&folder, "model", &named(path));
        assert!(told.contains(words) && told.contains(path.to_str().unwrap()), "{}: {told}", path.display());
    }
}

#[test]
fn keys_that_do_not_go_together_are_refused() {
    let folder = Folder::with_model();
    assert!(refusal(&folder, "model", "expert_moments = \"copy\"").contains("needs optimizer_state"));
    let state = named(&golden("named.pt"));
    assert!(refusal(&folder, "model", &format!("{state}\nexpert_moments = \"copy\"")).contains("is dense"));
    let told = refusal(&folder, "model", &format!("{state}\nexpert_moments = \"half\""));
    assert!(told.contains("half") && told.contains("zero") && told.contains("copy"), "{told}");
    let told = refusal(&folder, "model", &state.replace("optimizer_state", "optimiser_state"));
    assert!(told.contains("did you mean `optimizer_state`"), "{told}");
}

#[test]
fn training_goes_on_from_the_state_of_the_dense_parent() {
    let folder = Folder::with_model();
    let (model, moe) = (folder.arg("model"), folder.arg("moe"));
    done(&mut coppice(["upcycle", "--model", &model, "--output", &moe, "--experts", "4", "--top-k", "2", "--no-report"]));
    let state = folder.write("state.pt", pickle::state(&tensors(&SIZES), 420_001));
    for (run, model, lines, words) in [
        ("dense", "model", "", "the optimizer goes on from update 420001"),
        ("zero", "moe", "", "begin with moments of zero"),
        ("copy", "moe", "expert_moments = \"copy\"", "the moments of the matrix it is a copy of"),
    ] {
        let recipe = recipe(&folder, model, &format!("{}\n{lines}", named(Path::new(&state))));
        let output = done(&mut coppice(["train", &recipe, "--output", &folder.arg(run)]));
        assert_eq!(stderr(&output).matches(words).count(), 1, "{}", stderr(&output));
        let kept: serde_json::Value = serde_json::from_str(&folder.read(&format!("{run}/checkpoints/step-00000002/state.json"))).unwrap();
        assert_eq!((kept["updates_before"].as_u64(), kept["step"].as_u64()), (Some(420_001), Some(2)));
        let again = done(&mut coppice(["train", &recipe, "--output", &folder.arg(run), "--resume", "auto"]));
        assert!(!stderr(&again).contains(words), "{}", stderr(&again));
    }
    let recipe = recipe(&folder, "moe", &named(Path::new(&state)));
    assert!(json_of(&mut coppice(["train", &recipe, "--output", &folder.arg("dry"), "--dry-run", "--json"]))["parameters"].is_u64());
}
