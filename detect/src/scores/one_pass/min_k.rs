//! The least likely fifth of the response; of membership inference, here a baseline between the mean and the worst token.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// One in so many tokens counts: k = 20 %, the ratio at which the authors report the method.
const ONE_IN: usize = 5;

/// −mean ln p over the least likely fifth of the response's tokens, rounded down (as the authors' `run.py` does) but at least one token.
pub(super) struct MinK;

impl Scorer for MinK {
    fn card(&self) -> &'static Card {
        &Card {
            name: "min_k",
            needs: &[inputs::TOKEN_LOGPROBS],
            cost: Cost::OnePass,
            citation: "Shi et al. 2023, Min-K% Prob (arXiv 2310.16789)",
            summary: "mean negative log-probability of the least likely 20 % of the response tokens, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let mut logprobs = inputs::logprobs(case.record)?.to_vec();
        logprobs.sort_by(f64::total_cmp);
        logprobs.truncate((logprobs.len() / ONE_IN).max(1));
        Ok(-inputs::mean(&logprobs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    fn score(logprobs: Vec<f64>) -> f64 {
        MinK.score(&Case::new(&Record { token_logprobs: Some(logprobs), ..Record::default() })).expect("tokens")
    }

    #[test]
    fn two_of_ten_tokens_count_and_at_least_one() {
        assert_eq!(score((0..10).map(|i| -f64::from(i)).collect()), 8.5);
        assert_eq!(score(vec![-1.0, -2.0]), 2.0);
    }

    #[test]
    fn equally_likely_tokens_have_their_mean() {
        assert_eq!(score(vec![-0.5; 1000]), 0.5);
    }
}
