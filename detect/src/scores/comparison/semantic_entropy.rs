//! Semantic entropy with length-normalised sample probabilities, estimator (b): the one of the Nature paper's code.
//!
//! Repeated strings count as often as they were drawn, and cluster masses are divided by their sum, so no cluster's probability exceeds 1
//! (the estimator of Kuhn et al. 2023 sums unnormalised probabilities and lacks this property).

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// −Σ_c q(c) ln q(c) with q(c) = Σ_{j∈c} P_j / Σ_j P_j and P_j = exp(mean ln p of sample j's tokens). Clusters as the setup's equivalence says.
pub(super) struct SemanticEntropy;

impl Scorer for SemanticEntropy {
    fn card(&self) -> &'static Card {
        &Card {
            name: "semantic_entropy",
            needs: &[inputs::SAMPLES, inputs::SAMPLE_LOGPROBS],
            cost: Cost::Samples,
            citation: "Kuhn et al. 2023 (arXiv 2302.09664); Farquhar et al. 2024, Nature 630 (doi 10.1038/s41586-024-07421-0), Rao estimator",
            summary: "entropy of clusters of equivalent answers, weighed by length-normalised probability, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let mean_logprobs = inputs::mean_sample_logprobs(inputs::samples(case.record, 1)?)?;
        let largest = mean_logprobs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let masses: Vec<f64> = mean_logprobs.iter().map(|logprob| (logprob - largest).exp()).collect();
        Ok(entropy(&case.meanings()?, &masses))
    }
}

/// Entropy, nats, of clusters that hold the given masses. Summed in order of size, so that the same sizes give the same bits and tie.
pub(super) fn entropy(clusters: &[usize], masses: &[f64]) -> f64 {
    let mut probabilities = probabilities(clusters, masses);
    probabilities.sort_by(f64::total_cmp);
    let surprise = |q: f64| if q > 0.0 { -q * q.ln() } else { 0.0 };
    probabilities.into_iter().map(surprise).sum()
}

/// Probability of every cluster: its share of all mass; of a lone cluster exactly 1.
fn probabilities(clusters: &[usize], masses: &[f64]) -> Vec<f64> {
    let mut held = vec![0.0; clusters.iter().max().map_or(0, |last| last + 1)];
    clusters.iter().zip(masses).for_each(|(&cluster, mass)| held[cluster] += mass);
    let total: f64 = held.iter().sum();
    held.into_iter().map(|mass| mass / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Record, Sample};
    use proptest::prelude::*;

    fn record(samples: &[(&str, &[f64])]) -> Record {
        let sample =
            |&(text, logprobs): &(&str, &[f64])| Sample { text: text.into(), token_logprobs: Some(logprobs.to_vec()), ..Sample::default() };
        Record { samples: samples.iter().map(sample).collect(), ..Record::default() }
    }

    #[test]
    fn repeats_count_and_length_does_not() {
        // P = 1/2, 1/2 (two tokens of 1/2 each) and 1/4: clusters hold 1 and 1/4 of 5/4.
        let half = 0.5f64.ln();
        let record = record(&[("Rome", &[half]), ("rome.", &[half, half]), ("Oslo", &[2.0 * half])]);
        let expected = -(0.8 * 0.8f64.ln() + 0.2 * 0.2f64.ln());
        assert!((SemanticEntropy.score(&Case::new(&record)).expect("complete") - expected).abs() < 1e-12);
    }

    #[test]
    fn probabilities_below_the_smallest_float_still_compare() {
        let record = record(&[("a b", &[-2000.0]), ("c d", &[-2000.0])]);
        assert!((SemanticEntropy.score(&Case::new(&record)).expect("complete") - 2f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn a_sample_without_log_probabilities_is_named() {
        let mut record = record(&[("a", &[-1.0]), ("b", &[-1.0])]);
        record.samples[1].token_logprobs = None;
        let missing = SemanticEntropy.score(&Case::new(&record)).expect_err("incomplete");
        assert_eq!(missing.to_string(), "token_logprobs of every sample (absent from sample 1)");
    }

    proptest! {
        #[test]
        fn no_cluster_is_likelier_than_certain(draws in prop::collection::vec((0usize..4, -30.0f64..0.0), 1..40)) {
            let (clusters, masses): (Vec<usize>, Vec<f64>) = draws.into_iter().map(|(cluster, logprob)| (cluster, logprob.exp())).unzip();
            let probabilities = probabilities(&clusters, &masses);
            prop_assert!(probabilities.iter().all(|&q| q <= 1.0 + 1e-12));
            prop_assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            prop_assert!(entropy(&clusters, &masses) <= 4f64.ln() + 1e-12);
        }
    }
}
