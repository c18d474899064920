//! How training went: losses by step, load by expert.

use serde::{Deserialize, Serialize};

use super::number::rows_null_as_nan;

/// The losses of one arm and seed in one phase of training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Curve {
    /// The arm's name.
    pub arm: String,
    /// The seed.
    pub seed: u64,
    /// The phase (`pre-training`, `continued training`); one plot per phase.
    pub phase: String,
    /// The points, in the order of training.
    pub points: Vec<CurvePoint>,
}

/// Losses at one step, in nats per token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CurvePoint {
    /// Optimizer steps done.
    pub step: u64,
    /// Training tokens seen in this phase.
    pub tokens: u64,
    /// Loss on the training batch, without auxiliary terms.
    pub train_loss: Option<f64>,
    /// Loss on the validation set, where it was measured.
    pub validation_loss: Option<f64>,
}

/// How the routers of one arm and seed spread tokens over experts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExpertLoad {
    /// The arm's name.
    pub arm: String,
    /// The seed.
    pub seed: u64,
    /// Share of the assignments per routed layer and expert, `[layers][experts]`; a layer sums to 1.
    #[serde(deserialize_with = "rows_null_as_nan")]
    pub layers: Vec<Vec<f64>>,
    /// The model's layer index of each row; counted from 0 where empty.
    pub layer_indices: Vec<usize>,
}
