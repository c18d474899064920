//! `coppice.json`: how a checkpoint was made, with every source tensor accounted for. Written last, it says the folder is whole.

use std::collections::BTreeMap;
use std::path::PathBuf;

use safetensors::Dtype;
use serde::Serialize;

use super::options::Options;

/// Name of the manifest in the output folder.
pub const MANIFEST: &str = "coppice.json";

/// How an upcycled checkpoint was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Manifest {
    /// What the folder is: `upcycled`.
    pub kind: &'static str,
    /// Version of the program that made it.
    pub version: &'static str,
    /// The conversion's options, method and seed among them.
    pub options: Options,
    /// Indices of the converted layers.
    pub layers: Vec<usize>,
    /// What it was made from.
    pub source: SourceFacts,
    /// Weights in the result.
    pub parameters: u64,
    /// Size of every weights file in bytes.
    pub files: BTreeMap<String, u64>,
    /// What became of every source tensor.
    pub tensors: BTreeMap<String, Account>,
    /// Tensors of the result that are no copies, and how they were made.
    pub made: BTreeMap<String, String>,
}

/// The dense checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceFacts {
    /// Its folder.
    pub folder: PathBuf,
    /// Size of its weights files in bytes.
    pub bytes: u64,
    /// Element type of its embedding.
    pub dtype: Dtype,
}

/// What became of a source tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// It stands in the result under its own name.
    Kept,
    /// Its values went into these tensors.
    CopiedTo(Vec<String>),
    /// It is not in the result, and why.
    Unused(String),
}
