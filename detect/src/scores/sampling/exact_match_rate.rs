//! How rarely the samples repeat the response, character by character.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// 1 − share of samples equal to the response, as they stand (no normalisation).
pub(super) struct ExactMatchRate;

impl Scorer for ExactMatchRate {
    fn card(&self) -> &'static Card {
        &Card {
            name: "exact_match_rate",
            needs: &[inputs::SAMPLES],
            cost: Cost::Samples,
            citation: "Cole et al. 2023 (arXiv 2305.14613), repetition; Bouchard and Chauhan 2025, uqlm (arXiv 2504.19254), exact match",
            summary: "1 - share of samples equal to the response",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let samples = inputs::samples(case.record, 1)?;
        let equal = samples.iter().filter(|sample| sample.text == case.record.response).count();
        Ok(1.0 - equal as f64 / samples.len() as f64)
    }
}
