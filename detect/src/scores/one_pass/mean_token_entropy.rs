//! Mean entropy of the next-token distributions along the response.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// Mean over the response's tokens of H = −Σ_v P(v) ln P(v), over the whole vocabulary.
pub(super) struct MeanTokenEntropy;

impl Scorer for MeanTokenEntropy {
    fn card(&self) -> &'static Card {
        &Card {
            name: "mean_token_entropy",
            needs: &[inputs::TOKEN_ENTROPIES],
            cost: Cost::OnePass,
            citation: "Fomicheva et al. 2020 (arXiv 2005.10608), Softmax-Ent; Manakul et al. 2023 (arXiv 2303.08896), Avg(H)",
            summary: "mean entropy of the distributions the response was drawn from, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        Ok(inputs::mean(inputs::entropies(case.record)?))
    }
}
