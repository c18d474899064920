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
    /// What became of every tensor of the source.
    pub tensors: BTreeMap<String, Account>,
    /// What became of every tensor of the branches, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<BTreeMap<String, Account>>,
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

/// What became of a source tensor: all that holds of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// It stands in the result under its own name.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// These tensors are the same, element for element.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copied_to: Vec<String>,
    /// These tensors were computed from it (scaled, averaged, drawn anew in part), and how.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub made_into: BTreeMap<String, String>,
    /// It is not in the result, on purpose: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
    /// It is a buffer that every reader recomputes from the configuration.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recomputed: bool,
}
