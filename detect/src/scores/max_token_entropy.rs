//! Largest entropy of the next-token distributions along the response.

use super::{Cost, Missing, Scorer, inputs};
use crate::record::Record;

/// Maximum over the response's tokens of H = −Σ_v P(v) ln P(v), over the whole vocabulary.
pub(super) struct MaxTokenEntropy;

impl Scorer for MaxTokenEntropy {
    fn name(&self) -> &'static str {
        "max_token_entropy"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[inputs::TOKEN_ENTROPIES]
    }

    fn cost(&self) -> Cost {
        Cost::OnePass
    }

    fn citation(&self) -> &'static str {
        "Manakul et al. 2023, SelfCheckGPT (arXiv 2303.08896), Max(H)"
    }

    fn summary(&self) -> &'static str {
        "largest entropy of the distributions the response was drawn from, nats"
    }

    fn score(&self, record: &Record) -> Result<f64, Missing> {
        Ok(inputs::entropies(record)?.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }
}
