//! Semantic entropy, estimator (a) over unique responses: the repair of its double counting that LM-Polygraph offers.

use std::collections::HashSet;

use super::semantic_entropy_mc::monte_carlo;
use crate::record::Sample;
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// −(1/M) Σ_i ln Σ_{distinct strings s in c(i)} P(s): every distinct string counts once, with the probability of its first draw.
pub(super) struct SemanticEntropyUnique;

impl Scorer for SemanticEntropyUnique {
    fn card(&self) -> &'static Card {
        &Card {
            name: "semantic_entropy_unique",
            needs: &[inputs::SAMPLES, inputs::SAMPLE_LOGPROBS],
            cost: Cost::Samples,
            citation: "Kuhn et al. 2023 (arXiv 2302.09664), as in LM-Polygraph SemanticEntropy with use_unique_responses",
            summary: "semantic_entropy_mc with every distinct answer counted once, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let samples = inputs::samples(case.record, 1)?;
        Ok(monte_carlo(&case.meanings()?, &first_draws(samples), &inputs::sum_sample_logprobs(samples)?))
    }
}

/// Whether each sample is the first of its text.
fn first_draws(samples: &[Sample]) -> Vec<bool> {
    let mut seen = HashSet::new();
    samples.iter().map(|sample| seen.insert(sample.text.as_str())).collect()
}
