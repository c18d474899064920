//! How little the model believes its response when it sees what else it might have said.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// −ln P(True) with the samples shown as brainstormed ideas. Probabilities below the smallest normal float count as that.
pub(super) struct PTrueSampling;

impl Scorer for PTrueSampling {
    fn card(&self) -> &'static Card {
        &Card {
            name: "p_true_sampling",
            needs: &[inputs::SAMPLES, inputs::P_TRUE_SAMPLING],
            cost: Cost::Samples,
            citation: "Kadavath et al. 2022 (arXiv 2207.05221), P(True) with brainstormed samples, as in LM-Polygraph",
            summary: "negative log-probability of True when asked about the response beside the samples, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let judged = case.record.judged.as_ref().and_then(|judged| judged.p_true_sampling);
        Ok(-inputs::probability(judged, inputs::P_TRUE_SAMPLING)?.max(f64::MIN_POSITIVE).ln())
    }
}
