//! Largest entropy of the next-token distributions along the response.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// Maximum over the response's tokens of H = −Σ_v P(v) ln P(v), over the whole vocabulary.
pub(super) struct MaxTokenEntropy;

impl Scorer for MaxTokenEntropy {
    fn card(&self) -> &'static Card {
        &Card {
            name: "max_token_entropy",
            needs: &[inputs::TOKEN_ENTROPIES],
            cost: Cost::OnePass,
            citation: "Manakul et al. 2023, SelfCheckGPT (arXiv 2303.08896), Max(H)",
            summary: "largest entropy of the distributions the response was drawn from, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        Ok(inputs::entropies(case.record)?.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }
}
