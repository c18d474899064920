//! The entropy of the model's answers per token, so that long answers do not count as uncertain for their length.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// −(1/M) Σ ln P(sample) / tokens of the sample. The "naive entropy" of Farquhar et al. 2024.
pub(super) struct LengthNormalisedEntropy;

impl Scorer for LengthNormalisedEntropy {
    fn card(&self) -> &'static Card {
        &Card {
            name: "length_normalised_entropy",
            needs: &[inputs::SAMPLES, inputs::SAMPLE_LOGPROBS],
            cost: Cost::Samples,
            citation: "Malinin and Gales 2021 (arXiv 2002.07650); Kuhn et al. 2023 (arXiv 2302.09664), as in LM-Polygraph",
            summary: "mean over samples of the mean negative log-probability of their tokens, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let means = inputs::mean_sample_logprobs(inputs::samples(case.record, 1)?)?;
        Ok(-inputs::mean(&means))
    }
}
