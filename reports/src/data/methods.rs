//! Ways to make a routed model from a dense one, side by side: what each changed at the start and where it ended.

use serde::{Deserialize, Serialize};

use super::experts::mean;
use super::{Role, Spread};

/// One method on one data set. An arm that ran on several data sets has an entry for each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MethodResult {
    /// The arm's name; entries of one arm share it.
    pub arm: String,
    /// The name shown to readers; the plain name where empty.
    pub label: String,
    /// What it was trained and judged on: `world` or `text`.
    pub dataset: String,
    /// Control, base, upcycled or from scratch.
    pub role: Role,
    /// What the method does, a sentence.
    pub summary: String,
    /// Number of parameters.
    pub parameters: Option<u64>,
    /// Number of parameters one token uses.
    pub active_parameters: Option<u64>,
    /// FLOPs per token, inference.
    pub flops_per_token: Option<f64>,
    /// What each seed gave.
    pub seeds: Vec<MethodSeed>,
}

/// What one seed of a method gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MethodSeed {
    /// The seed.
    pub seed: u64,
    /// Loss before any training, upcycled minus dense, nats per token.
    pub step0_jump: Option<f64>,
    /// Whether the conversion preserved the dense model's function.
    pub step0_exact: Option<bool>,
    /// Loss after training, on held-out text, nats per token.
    pub final_loss: Option<f64>,
    /// Share of the questions answered correctly.
    pub facts_known: Option<f64>,
    /// Mean over routed layers of the load entropy, as a share of ln N.
    pub load_entropy: Option<f64>,
    /// Number of experts without a token, over all routed layers.
    pub dead_experts: Option<u64>,
    /// Training tokens seen.
    pub tokens: Option<u64>,
}

impl MethodResult {
    /// The name to show: the label, or the plain name where there is none.
    #[must_use]
    pub fn shown(&self) -> &str {
        if self.label.is_empty() { &self.arm } else { &self.label }
    }

    /// Mean and range over the seeds of what `of` reads from one; `None` where no seed has it finite.
    #[must_use]
    pub fn spread(&self, of: impl Fn(&MethodSeed) -> Option<f64>) -> Option<Spread> {
        let values: Vec<f64> = self.seeds.iter().filter_map(of).filter(|v| v.is_finite()).collect();
        Some(Spread {
            mean: mean(values.iter().copied())?,
            low: values.iter().copied().fold(f64::INFINITY, f64::min),
            high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            seeds: values.len(),
        })
    }

    /// Whether every seed found the conversion exact (and there is one).
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.seeds.is_empty() && self.seeds.iter().all(|seed| seed.step0_exact == Some(true))
    }
}
