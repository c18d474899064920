//! Scores against the expected results in the tests of uqlm 0.6, from the shared data; skipped, saying so, where the data is not there.
//!
//! uqlm's are confidences: `exact_match` is 1 − ours, `normalized_probability` is exp(−perplexity).

use std::path::PathBuf;

use coppice_detect::{Record, Sample, scores};
use serde_json::Value;

/// The contents of one of uqlm's files of expected results, found in the folder `COPPICE_DATA`, or `../shared/data` beside the workspace.
fn expected(file: &str) -> Option<Value> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let path = std::env::var_os("COPPICE_DATA").map_or_else(beside, PathBuf::from).join("reference/uqlm_scorer_expected.jsonl.zst");
    let Ok(packed) = std::fs::read(&path) else {
        eprintln!("SKIPPED: no {}; set COPPICE_DATA to the shared data", path.display());
        return None;
    };
    let text = zstd::decode_all(packed.as_slice()).expect("zstd");
    let mut lines = text.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    lines.find(|line| line["file"] == file).map(|mut line| line["content"]["data"].take())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn score(name: &str, record: &Record) -> f64 {
    scores::find(name).expect("registered").score(&coppice_detect::Case::new(record)).expect("complete")
}

#[test]
fn exact_match_rate_is_one_minus_uqlm_exact_match() {
    let Some(data) = expected("blackbox_results_file.json") else { return };
    for (index, confidence) in list(&data["exact_match"]).iter().enumerate() {
        let samples =
            list(&data["sampled_responses"][index]).iter().map(|sample| Sample { text: text(sample), ..Sample::default() }).collect();
        let record = Record { response: text(&data["responses"][index]), samples, ..Record::default() };
        assert!((1.0 - score("exact_match_rate", &record) - confidence.as_f64().expect("a number")).abs() < 1e-12);
    }
}

#[test]
fn perplexity_is_minus_the_log_of_uqlm_normalized_probability() {
    let Some(data) = expected("whitebox_results_file.json") else { return };
    for (index, confidence) in list(&data["normalized_probability"]).iter().enumerate() {
        let logprobs = list(&data["logprobs"][index]).iter().map(|token| token["logprob"].as_f64().expect("a number")).collect();
        let record = Record { token_logprobs: Some(logprobs), ..Record::default() };
        assert!(((-score("perplexity", &record)).exp() - confidence.as_f64().expect("a number")).abs() < 1e-9);
    }
}
