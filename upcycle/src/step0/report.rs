//! What a step-0 report says, as data and as lines of text.

use coppice_models::{Checkpoint, Config};
use serde::{Deserialize, Serialize};

use super::notes;
use crate::methods::Preservation;

/// Largest relative error of the logits that counts as exact in f32.
pub const EXACT: f64 = 1e-5;

/// How far an upcycled model is from its dense source before any training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step0 {
    /// What was run: text or random ids, and how much.
    pub probe: String,
    /// Tokens run.
    pub tokens: usize,
    /// Whether the relative error of the logits is at most [`EXACT`].
    pub exact: bool,
    /// What the method claimed; None where the checkpoint's configuration does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Preservation>,
    /// Losses and logits.
    pub logits: LogitsReport,
    /// Every layer, first to last.
    pub layers: Vec<LayerReport>,
    /// What the reader should know: no router gradient, weights that do not sum to 1, rounding.
    pub notes: Vec<String>,
}

/// The models' predictions, compared over all positions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogitsReport {
    /// Mean negative log-likelihood of the dense source, nats per token.
    pub dense_loss: f64,
    /// The same of the upcycled model.
    pub upcycled_loss: f64,
    /// Mean `KL(dense || upcycled)` per position, nats.
    pub divergence: f64,
    /// Largest absolute difference of two logits.
    pub max_abs_error: f64,
    /// `‖upcycled − dense‖ / ‖dense‖`.
    pub relative_error: f64,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// Index in the model.
    pub layer: usize,
    /// Relative error of the MLP's output, both given the dense layer's input; None where the layer was not converted.
    pub mlp_error: Option<f64>,
    /// Relative error of the residual stream after the layer, each model on its own stream.
    pub residual_error: f64,
    /// What the router did; None where the layer was not converted.
    pub router: Option<RouterReport>,
}

/// A router at step 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouterReport {
    /// Share of the assignments each expert got, `[N]`, sums to 1.
    pub load: Vec<f64>,
    /// Mean entropy of the router's softmax in nats; at most `ln N`.
    pub entropy: f64,
}

impl LogitsReport {
    /// The jump in loss, nats per token.
    pub fn loss_difference(&self) -> f64 {
        self.upcycled_loss - self.dense_loss
    }
}

impl Step0 {
    pub(super) fn new(
        probe: String,
        sequences: &[Vec<i64>],
        logits: LogitsReport,
        layers: Vec<LayerReport>,
        models: [&Checkpoint; 2],
    ) -> Self {
        let tokens = sequences.iter().map(Vec::len).sum();
        let (exact, claim) = (logits.relative_error <= EXACT, claim(&models[1].config));
        let notes = notes::notes(models, exact, claim.as_ref());
        Self { probe, tokens, exact, claim, logits, layers, notes }
    }

    /// The verdict in one sentence.
    pub fn verdict(&self) -> String {
        let (error, jump) = (self.logits.relative_error, self.logits.loss_difference());
        if self.exact {
            return format!("exact: the logits equal the dense model's (relative error {error:.1e}, at most {EXACT:.0e} counts as exact)");
        }
        format!("not exact: the logits differ by {error:.3e} of their norm, the loss by {jump:+.4} nats per token")
    }

    /// The report as lines for a terminal.
    pub fn lines(&self) -> Vec<String> {
        let logits = &self.logits;
        let mut lines = vec![
            format!("step 0: {}", self.verdict()),
            format!("  run on           {}", self.probe),
            format!(
                "  loss             dense {:.6}  upcycled {:.6}  difference {:+.2e}",
                logits.dense_loss,
                logits.upcycled_loss,
                logits.loss_difference()
            ),
            format!("  logits           relative error {:.2e}  largest difference {:.2e}", logits.relative_error, logits.max_abs_error),
            format!("  KL(dense||upc.)  {:.2e} nats per token", logits.divergence),
            "  layer   MLP error   residual error   router entropy   expert load min / max".to_owned(),
        ];
        lines.splice(1..1, self.claim.iter().map(|claim| format!("  claim            {}", claim.sentence())));
        lines.extend(self.layers.iter().map(LayerReport::line));
        lines.extend(self.notes.iter().map(|note| format!("  note: {note}")));
        lines
    }
}

impl LayerReport {
    fn line(&self) -> String {
        let start = format!("  {:>5}", self.layer);
        let residual = format!("{:>14.2e}", self.residual_error);
        let (Some(error), Some(router)) = (self.mlp_error, &self.router) else {
            return format!("{start}   {:>9}   {residual}", "dense");
        };
        let least = router.load.iter().copied().fold(f64::INFINITY, f64::min);
        let most = router.load.iter().copied().fold(0.0, f64::max);
        format!("{start}   {error:>9.2e}   {residual}   {:>14.3}   {:>8.1} % / {:.1} %", router.entropy, 100.0 * least, 100.0 * most)
    }
}

/// What the method claimed, as the checkpoint's configuration tells it.
fn claim(upcycled: &Config) -> Option<Preservation> {
    let record = upcycled.moe.as_ref()?.upcycling.as_ref()?;
    serde_json::from_value(record.get("preserves")?.clone()).ok()
}
