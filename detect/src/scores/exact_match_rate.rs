//! How rarely the samples repeat the response, character by character.

use super::{Cost, Missing, Scorer, inputs};
use crate::record::Record;

/// 1 − share of samples equal to the response, as they stand (no normalisation).
pub(super) struct ExactMatchRate;

impl Scorer for ExactMatchRate {
    fn name(&self) -> &'static str {
        "exact_match_rate"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[inputs::SAMPLES]
    }

    fn cost(&self) -> Cost {
        Cost::Samples
    }

    fn citation(&self) -> &'static str {
        "Cole et al. 2023 (arXiv 2305.14613), repetition; Bouchard and Chauhan 2025, uqlm (arXiv 2504.19254), exact match"
    }

    fn summary(&self) -> &'static str {
        "1 - share of samples equal to the response"
    }

    fn score(&self, record: &Record) -> Result<f64, Missing> {
        let samples = inputs::samples(record, 1)?;
        let equal = samples.iter().filter(|sample| sample.text == record.response).count();
        Ok(1.0 - equal as f64 / samples.len() as f64)
    }
}
