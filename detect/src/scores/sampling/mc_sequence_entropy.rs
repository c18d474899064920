//! How improbable the samples are on average: the entropy of the model's answers, estimated from them.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// −(1/M) Σ ln P(sample), P the product over its tokens.
pub(super) struct McSequenceEntropy;

impl Scorer for McSequenceEntropy {
    fn card(&self) -> &'static Card {
        &Card {
            name: "mc_sequence_entropy",
            needs: &[inputs::SAMPLES, inputs::SAMPLE_LOGPROBS],
            cost: Cost::Samples,
            citation: "Malinin and Gales 2021 (arXiv 2002.07650); Kuhn et al. 2023 (arXiv 2302.09664), predictive entropy, as in LM-Polygraph",
            summary: "Monte Carlo entropy of the answer: mean negative log-probability of the samples, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let sums = inputs::sum_sample_logprobs(inputs::samples(case.record, 1)?)?;
        Ok(-inputs::mean(&sums))
    }
}
