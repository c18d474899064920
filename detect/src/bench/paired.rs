//! Every score against the best one and against the length, on the records both have, so that what makes a record hard for both does not count.
//!
//! Records in groups are drawn by group: DeLong's variance takes every record for a draw of its own and would be too small.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::measured::Measured;
use super::{BenchSettings, Row};
use crate::metrics::{self, Groups, MetricError, Ranking};
use crate::scores::LENGTH;

/// A score compared with another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// The other score.
    pub with: String,
    /// Labelled records that have both.
    pub n: usize,
    /// AUROC of the score less that of the other, on those.
    pub difference: f64,
    /// Standard error of the difference: DeLong's, or with groups that of a bootstrap of groups.
    pub std_error: f64,
    /// Two-sided, of no difference.
    pub p_value: f64,
    /// The same, adjusted for all rows of the table ([Holm](metrics::holm)).
    pub p_adjusted: f64,
}

/// Fills in the comparisons of every row; `measured` are the rows' scores, in their order.
pub(super) fn compare(rows: &mut [Row], measured: &[Measured], groups: &Groups, settings: &BenchSettings) -> Result<(), MetricError> {
    let best = (0..rows.len()).filter(|&row| rows[row].score != LENGTH);
    let best = best.min_by(|&a, &b| rows[b].auroc.estimate.total_cmp(&rows[a].auroc.estimate));
    let length = rows.iter().position(|row| row.score == LENGTH);
    for (other, to_best) in [(best, true), (length, false)] {
        let Some(other) = other else { continue };
        let name = rows[other].score.clone();
        let of = |row: usize| if row == other { None } else { paired(&measured[row], &measured[other], &name, groups, settings) };
        let found = adjusted((0..rows.len()).map(of).collect())?;
        rows.iter_mut().zip(found).for_each(|(row, paired)| *(if to_best { &mut row.to_best } else { &mut row.to_length }) = paired);
    }
    Ok(())
}

fn adjusted(mut found: Vec<Option<Paired>>) -> Result<Vec<Option<Paired>>, MetricError> {
    let p_values: Vec<f64> = found.iter().flatten().map(|paired| paired.p_value).collect();
    found.iter_mut().flatten().zip(metrics::holm(&p_values)?).for_each(|(paired, p)| paired.p_adjusted = p);
    Ok(found)
}

/// `None` where the records that have both scores do not allow a comparison.
fn paired(ours: &Measured, theirs: &Measured, with: &str, groups: &Groups, settings: &BenchSettings) -> Option<Paired> {
    let (items, [mine, other], wrong) = shared(ours, theirs);
    let (difference, std_error, p_value) = if settings.group_by.is_some() {
        by_groups([&mine, &other], &wrong, &groups.within(&items), settings)?
    } else {
        let metrics::AurocDifference { difference, std_error, p_value } = metrics::delong_test(&mine, &other, &wrong).ok()?;
        (difference, std_error, p_value)
    };
    Some(Paired { with: with.to_owned(), n: items.len(), difference, std_error, p_value, p_adjusted: p_value })
}

/// The records that have both scores, with these and the labels.
fn shared(ours: &Measured, theirs: &Measured) -> (Vec<usize>, [Vec<f64>; 2], Vec<bool>) {
    let (mut items, mut scores, mut wrong) = (Vec::new(), [Vec::new(), Vec::new()], Vec::new());
    for (place, item) in ours.items.iter().enumerate() {
        if let Ok(other) = theirs.items.binary_search(item) {
            items.push(*item);
            scores[0].push(ours.scores[place]);
            scores[1].push(theirs.scores[other]);
            wrong.push(ours.wrong[place]);
        }
    }
    (items, scores, wrong)
}

/// Difference of AUROC, its standard error over draws of groups, and the p-value of a normal test.
fn by_groups(scores: [&[f64]; 2], wrong: &[bool], groups: &Groups, settings: &BenchSettings) -> Option<(f64, f64, f64)> {
    metrics::check_classes(scores[0], wrong).ok()?;
    let [ours, theirs] = scores.map(|scores| Ranking::new(scores, wrong));
    let difference = |drawn: &[usize]| {
        let auroc = |ranking: &Ranking| metrics::auroc_of(&ranking.blocks(drawn.iter().copied())).ok();
        Some(auroc(&ours)? - auroc(&theirs)?)
    };
    let all: Vec<usize> = (0..wrong.len()).collect();
    let estimate = difference(&all)?;
    let [resampled] = metrics::resample_groups(groups, settings.resamples, settings.seed, |drawn| [difference(drawn)]).ok()?;
    let std_error = resampled.ok()?.std_error();
    let p_value = match (estimate.abs() < 1e-15, std_error > 0.0) {
        (true, _) => 1.0,
        (false, false) => 0.0,
        (false, true) => 2.0 * Normal::standard().sf(estimate.abs() / std_error),
    };
    Some((estimate, std_error, p_value))
}
