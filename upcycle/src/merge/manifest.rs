//! `coppice.json` of a merged checkpoint: what was merged, how, and what a reader should know. Written last, it says the folder is whole.

use std::collections::BTreeMap;

use coppice_models::Checkpoint;
use serde::Serialize;
use serde_json::Value;

use super::Options;
use super::plan::Plan;
use crate::convert::SourceFacts;

/// How a merged checkpoint was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Manifest {
    /// What the folder is: `merged`.
    pub kind: &'static str,
    /// Version of the program that made it.
    pub version: &'static str,
    /// The merge's options.
    pub options: Options,
    /// What it was made from.
    pub source: SourceFacts,
    /// `N`, experts of a routed layer of the source.
    pub experts: i64,
    /// `G`, the parts of a replica.
    pub granularity: i64,
    /// Factor on the routed down projections.
    pub scale: f64,
    /// How the experts had come from a dense model, as the source says it.
    pub upcycling: Option<Value>,
    /// `F` of the result.
    pub intermediate_size: i64,
    /// What became of each layer's MLP.
    pub layers: Vec<LayerMerge>,
    /// Weights in the result.
    pub parameters: u64,
    /// Size of every weights file in bytes.
    pub files: BTreeMap<String, u64>,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// Where the hidden units of a merged layer come from, in their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LayerMerge {
    /// Index in the model.
    pub layer: usize,
    /// Units of a layer that was dense before.
    pub dense: i64,
    /// Units of the shared expert.
    pub shared: i64,
    /// Units of the averaged routed experts; 0 where they put out zero and were left out.
    pub routed: i64,
    /// Zero units up to the width of the widest layer.
    pub padding: i64,
}

/// What a merge would write.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// Weights in the result.
    pub parameters: u64,
    /// Bytes of tensors in the result.
    pub bytes: u64,
    /// Files they are split over.
    pub files: usize,
    /// `F` of the result.
    pub intermediate_size: i64,
    /// What becomes of each layer's MLP.
    pub layers: Vec<LayerMerge>,
    /// What the reader should know.
    pub notes: Vec<String>,
}

impl Manifest {
    pub(super) fn new(plan: &Plan, source: &Checkpoint, options: &Options, files: BTreeMap<String, u64>) -> Self {
        Self {
            kind: "merged",
            version: env!("CARGO_PKG_VERSION"),
            options: options.clone(),
            source: SourceFacts { folder: source.folder.clone(), bytes: source.file_bytes(), dtype: source.dtype() },
            experts: plan.moe.num_experts,
            granularity: plan.granularity,
            scale: plan.scale,
            upcycling: plan.moe.upcycling.clone(),
            intermediate_size: plan.config.intermediate_size,
            layers: plan.layers.clone(),
            parameters: plan.parameters(),
            files,
            notes: plan.notes.clone(),
        }
    }
}
