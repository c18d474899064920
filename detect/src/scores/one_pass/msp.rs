//! Maximum sequence probability: the negative log-probability of the whole response.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// −Σ ln p over the response's tokens.
pub(super) struct Msp;

impl Scorer for Msp {
    fn card(&self) -> &'static Card {
        &Card {
            name: "msp",
            needs: &[inputs::TOKEN_LOGPROBS],
            cost: Cost::OnePass,
            citation: "Fadeeva et al. 2023, LM-Polygraph (arXiv 2311.07383), maximum sequence probability",
            summary: "negative log-probability of the response, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        Ok(-inputs::logprobs(case.record)?.iter().sum::<f64>())
    }
}
