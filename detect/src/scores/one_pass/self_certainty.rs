//! How far the next-token distributions are from the uniform one, as the uniform one sees it.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// −mean over the response's tokens of KL(U ‖ P) = −mean_v ln P(v) − ln V, U the uniform distribution over the vocabulary of V: at most 0, and 0
/// where nothing is known.
pub(super) struct SelfCertainty;

impl Scorer for SelfCertainty {
    fn card(&self) -> &'static Card {
        &Card {
            name: "self_certainty",
            needs: &[inputs::TOKEN_SELF_CERTAINTIES],
            cost: Cost::OnePass,
            citation: "Kang et al. 2025, Scalable Best-of-N Selection via Self-Certainty (arXiv 2502.18581), as in LM-Polygraph",
            summary: "negative mean Kullback-Leibler divergence of the uniform distribution from the next-token distributions, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        Ok(-inputs::mean(inputs::self_certainties(case.record)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    #[test]
    fn uniform_distributions_are_the_most_suspect() {
        let score = |values: &[f64]| {
            SelfCertainty.score(&Case::new(&Record { token_self_certainties: Some(values.to_vec()), ..Record::default() })).expect("tokens")
        };
        assert_eq!(score(&[0.0, 0.0]), 0.0);
        assert_eq!(score(&[4.0, 8.0]), -6.0);
    }
}
