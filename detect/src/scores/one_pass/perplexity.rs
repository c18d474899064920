//! Length-normalised log-probability, the logarithm of the perplexity; the grey-box Avg(-log p) of SelfCheckGPT.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// −mean ln p over the response's tokens.
pub(super) struct Perplexity;

impl Scorer for Perplexity {
    fn card(&self) -> &'static Card {
        &Card {
            name: "perplexity",
            needs: &[inputs::TOKEN_LOGPROBS],
            cost: Cost::OnePass,
            citation: "Fomicheva et al. 2020 (arXiv 2005.10608); Manakul et al. 2023, SelfCheckGPT (arXiv 2303.08896), Avg(-log p)",
            summary: "mean negative log-probability of a response token, nats (the logarithm of the perplexity)",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        Ok(-inputs::mean(inputs::logprobs(case.record)?))
    }
}
