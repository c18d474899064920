//! SentenceSAR: a sample is believed as far as samples like it are likely too.

use ndarray::Array2;

use super::log_sum_exp::log_sum_exp;
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// Temperature of the relevance, as published.
const TEMPERATURE: f64 = 0.001;

/// Mean over samples of E_i = −ln(P_i + (1/τ) Σ_{j≠i} similarity_ij P_j), P = probability of the whole sample, τ = 0.001. The sum is no
/// probability: agreement makes the score negative.
pub(super) struct SentenceSar;

impl Scorer for SentenceSar {
    fn card(&self) -> &'static Card {
        &Card {
            name: "sentence_sar",
            needs: &[inputs::SAMPLES, inputs::SAMPLE_LOGPROBS],
            cost: Cost::Samples,
            citation: "Duan et al. 2024 (arXiv 2307.01379), sentSAR, as in LM-Polygraph SentenceSAR",
            summary: "mean negative log-probability of the samples, each raised by the samples similar to it",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let logprobs = inputs::sum_sample_logprobs(inputs::samples(case.record, 1)?)?;
        Ok(relevant(&logprobs, &case.sample_similarity(case.setup.similarity.as_ref())?))
    }
}

/// The mean of E_i, from log-probabilities and similarities `[samples, samples]`.
pub(super) fn relevant(logprobs: &[f64], similarity: &Array2<f64>) -> f64 {
    let raised = |i: usize| {
        let lent = logprobs.iter().enumerate().map(move |(j, logprob)| {
            let weight = if i == j { 1.0 } else { similarity[[i, j]].max(0.0) / TEMPERATURE };
            logprob + weight.ln()
        });
        log_sum_exp(lent)
    };
    -(0..logprobs.len()).map(raised).sum::<f64>() / logprobs.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_unlike_each_other_stand_alone() {
        assert!((relevant(&[-2.0, -3.0], &Array2::eye(2)) - 2.5).abs() < 1e-15);
        assert_eq!(relevant(&[-2.0], &Array2::eye(1)), 2.0);
    }

    #[test]
    fn equal_samples_raise_each_other_a_thousandfold() {
        // E = −ln(P + 1000 (M − 1) P) for M equal samples.
        let expected = 4.0 - 2001f64.ln();
        assert!((relevant(&[-4.0; 3], &Array2::ones((3, 3))) - expected).abs() < 1e-12);
    }
}
