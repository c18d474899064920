//! How far the next-token distributions, softened, are from the uniform one.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// −mean over the response's tokens of the Rényi divergence of order 1/2, D = ln V − 2 ln Σ_v √q_v, of q ∝ √P (temperature 2) from the uniform
/// distribution over the vocabulary of V: 0 where nothing is known, −ln V where P is one token.
///
/// LM-Polygraph's `RenyiNeg` is the divergence less 2 ln V, without the minus, so the surest response has its highest value.
pub(super) struct Renyi;

impl Scorer for Renyi {
    fn card(&self) -> &'static Card {
        &Card {
            name: "renyi",
            needs: &[inputs::TOKEN_RENYI],
            cost: Cost::OnePass,
            citation: "Darrin et al. 2022, RainProof (arXiv 2212.09171), information projection onto the uniform distribution",
            summary: "negative mean Rényi divergence of the softened next-token distributions from the uniform one, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        Ok(-inputs::mean(inputs::renyi(case.record)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    #[test]
    fn one_hot_distributions_are_the_least_suspect() {
        let score =
            |values: &[f64]| Renyi.score(&Case::new(&Record { token_renyi: Some(values.to_vec()), ..Record::default() })).expect("tokens");
        let one_hot = 100_352_f64.ln();
        assert_eq!(score(&[0.0; 3]), 0.0);
        assert!((score(&[one_hot; 3]) + one_hot).abs() < 1e-12);
    }
}
