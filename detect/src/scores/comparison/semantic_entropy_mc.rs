//! Semantic entropy, estimator (a): Monte Carlo over the samples, as Kuhn et al. first wrote it and as LM-Polygraph computes it.
//!
//! A cluster's mass is the *sum* of the probabilities of the samples in it, so a string drawn twice counts twice, and the "probability" of a
//! meaning can exceed 1 and the score fall below 0. That is the published estimator, kept for comparison; `semantic_entropy_unique` counts
//! every distinct string once, and `semantic_entropy` divides by the sum.

use super::log_sum_exp::log_sum_exp;
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// −(1/M) Σ_i ln Σ_{j∈c(i)} P(s_j), P(s) = Π p over the sample's tokens (not length-normalised). Clusters as the setup's equivalence says.
pub(super) struct SemanticEntropyMc;

impl Scorer for SemanticEntropyMc {
    fn card(&self) -> &'static Card {
        &Card {
            name: "semantic_entropy_mc",
            needs: &[inputs::SAMPLES, inputs::SAMPLE_LOGPROBS],
            cost: Cost::Samples,
            citation: "Kuhn et al. 2023 (arXiv 2302.09664), as in LM-Polygraph SemanticEntropy; sums exceed 1 when samples repeat",
            summary: "mean over samples of minus the log of the summed probability of the sample's meaning, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let logprobs = inputs::sum_sample_logprobs(inputs::samples(case.record, 1)?)?;
        Ok(monte_carlo(&case.meanings()?, &vec![true; logprobs.len()], &logprobs))
    }
}

/// Mean over all samples of minus the log of the mass of the sample's cluster; only samples that `count` lend their probability to it.
pub(super) fn monte_carlo(clusters: &[usize], count: &[bool], logprobs: &[f64]) -> f64 {
    let held = |cluster: usize| {
        let counted = clusters.iter().zip(count).map(move |(&of, &counts)| of == cluster && counts);
        log_sum_exp(counted.zip(logprobs).filter(|(counts, _)| *counts).map(|(_, &logprob)| logprob))
    };
    let masses: Vec<f64> = (0..=clusters.iter().copied().max().unwrap_or(0)).map(held).collect();
    -clusters.iter().filter_map(|&cluster| masses.get(cluster)).sum::<f64>() / clusters.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_push_the_sum_above_one_and_the_score_below_zero() {
        // Two draws of one string of probability 0.9: "probability" of the meaning 1.8.
        let likely = 0.9f64.ln();
        assert!((monte_carlo(&[0, 0], &[true, true], &[likely, likely]) + 1.8f64.ln()).abs() < 1e-15);
        assert!((monte_carlo(&[0, 0], &[true, false], &[likely, likely]) + likely).abs() < 1e-15);
    }

    #[test]
    fn distinct_equiprobable_answers() {
        // M meanings of probability 1/M each: the entropy of the uniform distribution.
        let (clusters, logprobs): (Vec<usize>, Vec<f64>) = (0..7).map(|i| (i, -(7f64.ln()))).unzip();
        assert!((monte_carlo(&clusters, &[true; 7], &logprobs) - 7f64.ln()).abs() < 1e-14);
    }
}
