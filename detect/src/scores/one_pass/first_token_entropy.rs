//! Entropy of the distribution that the response begins from.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// H = −Σ_v P(v) ln P(v) at the first token of the response, over the whole vocabulary.
pub(super) struct FirstTokenEntropy;

impl Scorer for FirstTokenEntropy {
    fn card(&self) -> &'static Card {
        &Card {
            name: "first_token_entropy",
            needs: &[inputs::TOKEN_ENTROPIES],
            cost: Cost::OnePass,
            citation: "Snel and Oh 2025, First Hallucination Tokens Are Different From Conditional Ones (arXiv 2507.20836), for the start of a response",
            summary: "entropy of the distribution the first response token was drawn from, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        inputs::entropies(case.record)?.first().copied().ok_or(Missing::Entries(inputs::TOKEN_ENTROPIES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    #[test]
    fn later_tokens_do_not_count() {
        for rest in [0.0, 9.0] {
            let record = Record { token_entropies: Some(vec![4f64.ln(), rest]), ..Record::default() };
            assert_eq!(FirstTokenEntropy.score(&Case::new(&record)), Ok(4f64.ln()));
        }
    }
}
