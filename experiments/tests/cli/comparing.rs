//! `detect` with models that compare texts: tiny encoders with random weights, beside the detector's own tests.

use std::path::Path;

use crate::support::{Folder, coppice, done, json_of, refused};

fn encoder(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../detect/tests/golden/encoders").join(name).display().to_string()
}

/// Records of two and three distinct answers, right and wrong.
fn sampled() -> String {
    let samples = |texts: &[&str]| {
        texts.iter().map(|text| format!("{{\"text\":\"{text}\",\"token_logprobs\":[-0.5,-0.1]}}")).collect::<Vec<_>>().join(",")
    };
    let record = |index: usize| {
        let texts: &[&str] = if index.is_multiple_of(2) { &["Paris.", "It is Paris.", "Paris."] } else { &["Lyon", "The river", "No."] };
        let label = index % 2;
        format!("{{\"id\":\"{index}\",\"prompt\":\"p\",\"response\":\"Paris.\",\"samples\":[{}],\"label\":{label}}}\n", samples(texts))
    };
    (0..8).map(record).collect()
}

#[test]
fn meanings_are_told_apart_by_the_model_asked_for() {
    let folder = Folder::new();
    let input = folder.write("records.jsonl", sampled());
    let entropy = |name: &str, options: &[&str]| {
        let output = folder.arg(name);
        let scores = ["--scores", "discrete_semantic_entropy"];
        done(coppice(["detect", "score", "--input", &input, "--output", &output]).args(scores).args(options));
        folder.lines(name)[1]["scores"]["discrete_semantic_entropy"].as_f64().unwrap()
    };
    let (nli, minilm) = (encoder("bert"), encoder("minilm"));
    assert!((entropy("words", &[]) - 3f64.ln()).abs() < 1e-12, "three answers of different words");
    assert_eq!(entropy("all", &["--equivalence", &minilm, "--equivalence-threshold", "0"]), 0.0);
    assert!((entropy("none", &["--equivalence", &minilm, "--equivalence-threshold", "1"]) - 3f64.ln()).abs() < 1e-12);
    let judged = entropy("judged", &["--equivalence", "nli_strict", "--nli", &nli]);
    assert!((0.0..=3f64.ln() + 1e-12).contains(&judged), "{judged}");
}

#[test]
fn the_benchmark_takes_the_same_models() {
    let folder = Folder::new();
    let input = folder.write("records.jsonl", sampled());
    let mut command =
        coppice(["detect", "bench", "--json", "--resamples", "20", "--input", &input, "--graph-similarity", &encoder("modernbert_cls")]);
    let found = json_of(command.args(["--similarity", &encoder("minilm"), "--equivalence", "nli", "--nli", &encoder("deberta")]));
    let names: Vec<_> = found["rows"].as_array().unwrap().iter().map(|row| row["score"].as_str().unwrap()).collect();
    assert!(names.contains(&"semantic_entropy"), "{found}");
}

#[test]
fn a_back_end_that_is_none_is_refused_before_anything_is_read() {
    let folder = Folder::new();
    let minilm = encoder("minilm");
    let cases: [(&[&str], &str); 6] = [
        (&["--similarity", "rogue_l"], "--similarity rogue_l is no folder; expected one, or one of exact_match, jaccard, rouge_l, hidden"),
        (&["--equivalence", "nli"], "--equivalence nli needs a model: give --nli DIR"),
        (&["--equivalence", &minilm], "give --equivalence-threshold, chosen on labelled data"),
        (&["--equivalence-threshold", "1.5"], "--equivalence-threshold is 1.5; expected 0 to 1"),
        (&["--nli", &minilm], "id2label names nothing, which is no natural-language inference"),
        (&["--nli", "absent"], "absent/config.json: cannot be read"),
    ];
    for (options, message) in cases {
        let told = refused(coppice(["detect", "score", "--input", "absent.jsonl", "--output", &folder.arg("v.jsonl")]).args(options));
        assert!(told.contains(message), "{told}");
    }
    assert!(folder.names().is_empty());
}
