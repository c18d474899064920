//! Which hallucination scores are drawn in colour: the best few, the same in every figure of a report.

use std::cmp::Reverse;

use super::palette::{CATEGORIES, Ink, category};
use crate::data::Report;

/// The baseline every score must beat.
pub(crate) const BASELINE: &str = "length";

/// Score names from best to worst, by their best AUROC over arms; the baseline apart.
pub(crate) struct Ranking(Vec<String>);

impl Ranking {
    /// Ranks the scores of a report's curves; those without an AUROC come last.
    pub(crate) fn of(report: &Report) -> Self {
        let curves = report.roc.iter().chain(&report.risk_coverage);
        let mut names: Vec<String> = curves.map(|curve| curve.score.clone()).filter(|name| name != BASELINE).collect();
        names.sort_unstable();
        names.dedup();
        names.sort_by_cached_key(|name| Reverse(key(best(report, name))));
        Self(names)
    }

    /// The score's colour; `None` for those beyond the palette and for the baseline.
    pub(crate) fn ink(&self, score: &str) -> Option<Ink> {
        let place = self.place(score);
        (place < CATEGORIES.len()).then(|| category(place))
    }

    /// The score's rank, from 0; the baseline and unknown ones last.
    pub(crate) fn place(&self, score: &str) -> usize {
        self.0.iter().position(|name| name == score).unwrap_or(self.0.len())
    }
}

/// The score's best AUROC over arms.
fn best(report: &Report, score: &str) -> f64 {
    let of_score = report.scores.iter().filter(|row| row.score == score);
    of_score.filter_map(|row| row.auroc).filter(|auroc| auroc.is_finite()).fold(0.0, f64::max)
}

/// An order for AUROCs that integers have: millionths.
fn key(auroc: f64) -> i64 {
    (auroc * 1e6).round() as i64
}
