//! Discrete semantic entropy: the entropy of the shares of samples in each cluster of meaning.

use super::semantic_entropy::entropy;
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// −Σ_c q(c) ln q(c) with q(c) = samples in cluster c / samples. Clusters as the setup's equivalence says.
pub(super) struct DiscreteSemanticEntropy;

impl Scorer for DiscreteSemanticEntropy {
    fn card(&self) -> &'static Card {
        &Card {
            name: "discrete_semantic_entropy",
            needs: &[inputs::SAMPLES],
            cost: Cost::Samples,
            citation: "Farquhar et al. 2024, Nature 630 (doi 10.1038/s41586-024-07421-0), discrete variant",
            summary: "entropy of the shares of samples in clusters of equivalent answers, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let samples = inputs::samples(case.record, 1)?;
        Ok(entropy(&case.meanings()?, &vec![1.0; samples.len()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Record, Sample};

    fn score(texts: &[&str]) -> f64 {
        let samples = texts.iter().map(|&text| Sample { text: text.into(), ..Sample::default() }).collect();
        DiscreteSemanticEntropy.score(&Case::new(&Record { samples, ..Record::default() })).expect("samples are there")
    }

    #[test]
    fn ten_distinct_answers_have_the_entropy_of_ten() {
        let texts: Vec<String> = (0..10).map(|i| format!("city {i}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert!((score(&texts) - 10f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn one_meaning_has_none() {
        assert_eq!(score(&["Paris", "paris.", " Paris"]), 0.0);
    }

    #[test]
    fn the_same_sizes_tie_to_the_bit() {
        let (five, three, two): (&[&str], &[&str], &[&str]) = (&["Rome"; 5], &["Oslo"; 3], &["Bonn"; 2]);
        assert_eq!(score(&[five, three, two].concat()), score(&[two, three, five].concat()));
    }

    #[test]
    fn three_to_one() {
        let expected = -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        assert!((score(&["Paris", "Rome", "Paris", "Paris"]) - expected).abs() < 1e-15);
    }
}
