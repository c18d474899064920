//! The most surprising token of the response.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// Maximum over the response's tokens of −ln p; exp of minus it is uqlm's `min_probability`.
pub(super) struct MaxTokenNll;

impl Scorer for MaxTokenNll {
    fn card(&self) -> &'static Card {
        &Card {
            name: "max_token_nll",
            needs: &[inputs::TOKEN_LOGPROBS],
            cost: Cost::OnePass,
            citation: "Manakul et al. 2023, SelfCheckGPT (arXiv 2303.08896), Max(-log p); uqlm 0.6, min_probability",
            summary: "largest negative log-probability of a response token, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        Ok(-inputs::logprobs(case.record)?.iter().copied().fold(f64::INFINITY, f64::min))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    #[test]
    fn the_least_likely_token_counts_wherever_it_stands() {
        for logprobs in [[-3.0, -0.5, -0.1], [-0.5, -0.1, -3.0]] {
            let record = Record { token_logprobs: Some(logprobs.to_vec()), ..Record::default() };
            assert_eq!(MaxTokenNll.score(&Case::new(&record)), Ok(3.0));
        }
    }
}
