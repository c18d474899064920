//! The golden files of `tests/golden/make.py`, as Rust values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How a tensor is made; see `tests/golden/weights.py`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Recipe {
    pub(crate) shape: Vec<i64>,
    pub(crate) offset: f32,
    pub(crate) scale: f32,
}

/// `parity/*.json`: one model and what transformers says of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) config: Value,
    pub(crate) dtype: String,
    pub(crate) shards: usize,
    pub(crate) tensors: BTreeMap<String, Recipe>,
    pub(crate) sequences: Vec<Scored>,
    pub(crate) batch: Vec<Scored>,
    pub(crate) greedy: Vec<Greedy>,
}

/// A sequence and its scores; entry `t` of the lists belongs to the prediction made after token `t`.
#[derive(Debug, Deserialize)]
pub(crate) struct Scored {
    pub(crate) ids: Vec<i64>,
    pub(crate) target_logprobs: Vec<f64>,
    pub(crate) entropies: Vec<f64>,
    pub(crate) last_top: Top,
}

/// The most probable tokens after the last one.
#[derive(Debug, Deserialize)]
pub(crate) struct Top {
    pub(crate) tokens: Vec<i64>,
    pub(crate) logprobs: Vec<f64>,
}

/// A prompt and its likeliest continuation.
#[derive(Debug, Deserialize)]
pub(crate) struct Greedy {
    pub(crate) prompt: Vec<i64>,
    pub(crate) tokens: Vec<i64>,
}

/// Reads `tests/golden/{name}.json`.
pub(crate) fn read<T: DeserializeOwned>(name: &str) -> T {
    let path = folder().join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every parity case with its name.
pub(crate) fn cases() -> Vec<(String, Case)> {
    let mut names: Vec<_> = std::fs::read_dir(folder().join("parity"))
        .expect("golden folder")
        .map(|entry| entry.expect("entry").path().file_stem().expect("stem").to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), read(&format!("parity/{name}")))).collect()
}

/// Where the golden files lie.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}
