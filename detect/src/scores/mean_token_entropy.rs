//! Mean entropy of the next-token distributions along the response.

use super::{Cost, Missing, Scorer, inputs};
use crate::record::Record;

/// Mean over the response's tokens of H = −Σ_v P(v) ln P(v), over the whole vocabulary.
pub(super) struct MeanTokenEntropy;

impl Scorer for MeanTokenEntropy {
    fn name(&self) -> &'static str {
        "mean_token_entropy"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[inputs::TOKEN_ENTROPIES]
    }

    fn cost(&self) -> Cost {
        Cost::OnePass
    }

    fn citation(&self) -> &'static str {
        "Fomicheva et al. 2020 (arXiv 2005.10608), Softmax-Ent; Manakul et al. 2023 (arXiv 2303.08896), Avg(H)"
    }

    fn summary(&self) -> &'static str {
        "mean entropy of the distributions the response was drawn from, nats"
    }

    fn score(&self, record: &Record) -> Result<f64, Missing> {
        Ok(inputs::mean(inputs::entropies(record)?))
    }
}
