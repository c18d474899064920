//! The baseline: how long the response is.

use super::{Card, Case, Cost, LENGTH, Missing, Scorer};

/// Tokens of the response, or its characters where no tokens are given.
pub(super) struct Length;

impl Scorer for Length {
    fn card(&self) -> &'static Card {
        &Card {
            name: LENGTH,
            needs: &[],
            cost: Cost::Text,
            citation: "baseline; answer length alone reaches AUROC 0.94 on HaluEval-QA (Li et al. 2023, arXiv 2305.11747)",
            summary: "length of the response in tokens, else characters",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        Ok(case.record.tokens.as_ref().map_or_else(|| case.record.response.chars().count(), Vec::len) as f64)
    }
}
