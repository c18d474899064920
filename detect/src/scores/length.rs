//! The baseline: how long the response is.

use super::{Cost, LENGTH, Missing, Scorer};
use crate::record::Record;

/// Tokens of the response, or its characters where no tokens are given.
pub(super) struct Length;

impl Scorer for Length {
    fn name(&self) -> &'static str {
        LENGTH
    }

    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    fn cost(&self) -> Cost {
        Cost::Text
    }

    fn citation(&self) -> &'static str {
        "baseline; answer length alone reaches AUROC 0.94 on HaluEval-QA (Li et al. 2023, arXiv 2305.11747)"
    }

    fn summary(&self) -> &'static str {
        "length of the response in tokens, else characters"
    }

    fn score(&self, record: &Record) -> Result<f64, Missing> {
        Ok(record.tokens.as_ref().map_or_else(|| record.response.chars().count(), Vec::len) as f64)
    }
}
