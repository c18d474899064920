//! Which score finds wrong responses best: every score on labelled records, with intervals, always beside the length baseline.

use std::collections::BTreeMap;

mod columns;
mod held_out;
mod measured;
mod paired;
mod public;
mod ranks;
mod selfcheck;
mod wikibio;

use serde::{Deserialize, Serialize};

use crate::metrics::{self, Groups, Interval, MetricError};
use crate::record::Record;
use crate::scores::{self, Cost, LENGTH, Scorer, UnknownScore};
use crate::setup::Setup;
pub use paired::Paired;
pub use ranks::{MeanRank, mean_ranks};

pub use public::{Level, PublicData, public};
pub use selfcheck::{Area, Passage, SelfCheck, selfcheck};
pub use wikibio::{WikiBioRow, wikibio};

/// What to measure and how finely.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchSettings {
    /// Names of the scores; all of the registry if `None`. The length baseline is added if it is not among them.
    pub scores: Option<Vec<String>>,
    /// Bootstrap resamples of every interval.
    pub resamples: usize,
    /// Confidence of the intervals.
    pub confidence: f64,
    /// Seeds resamples and calibration halves.
    pub seed: u64,
    /// Field of `source` that names what records have in common (a person): intervals and halves draw whole groups.
    pub group_by: Option<String>,
    /// Whether rows say what the scores cost in time, which differs from run to run.
    pub timed: bool,
}

impl Default for BenchSettings {
    /// All scores, 1,000 resamples, 95 %, seed 0, no groups, no times.
    fn default() -> Self {
        Self { scores: None, resamples: 1000, confidence: 0.95, seed: 0, group_by: None, timed: false }
    }
}

/// The comparison of scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// Labelled records.
    pub n: usize,
    /// Groups they are of; `None` without grouping.
    pub groups: Option<usize>,
    /// Share of them that is wrong.
    pub base_rate: f64,
    /// Ids of the records left out for want of a label.
    pub unlabelled: Vec<String>,
    /// One row a score, in the order asked for.
    pub rows: Vec<Row>,
    /// Scores without a row, and why: what the records lack, or which class.
    pub skipped: BTreeMap<String, String>,
}

/// How one score did on the labelled records that have what it needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The score's name.
    pub score: String,
    /// Whether generating the response alone is enough.
    pub single_pass: bool,
    /// What it costs beyond the response.
    pub cost: Cost,
    /// Mean microseconds a record, of this program alone; what several scores share counts for the first. `None` unless asked for.
    pub microseconds: Option<f64>,
    /// Mean tokens a record that the model writes or reads again for it beyond the response; `None` where the records do not tell.
    pub extra_tokens: Option<f64>,
    /// Labelled records it was computed on.
    pub n: usize,
    /// Labelled records it could not be computed on.
    pub missing: usize,
    /// What those lack, and how many of them.
    pub lacks: BTreeMap<String, usize>,
    /// Area under the ROC curve. This and the other intervals are percentile bootstrap over records, or over groups.
    pub auroc: Interval,
    /// DeLong's interval of it; `None` with fewer than two of a class.
    pub auroc_delong: Option<Interval>,
    /// Two-sided p-value of the Mann-Whitney test of AUROC = 1/2.
    pub p_value: f64,
    /// The same, adjusted for all rows of the table ([Holm](metrics::holm)).
    pub p_adjusted: f64,
    /// Compared with the score of highest AUROC, length excepted; `None` for that score itself.
    pub to_best: Option<Paired>,
    /// Compared with the length; `None` for the length itself.
    pub to_length: Option<Paired>,
    /// Average precision; chance is `base_rate` below.
    pub auc_pr: Interval,
    /// Share wrong among the `n` records of this row.
    pub base_rate: f64,
    /// Prediction-rejection ratio over all rejection rates.
    pub prr: Interval,
    /// The same up to rejecting half; `None` below four records.
    pub prr_half: Option<Interval>,
    /// Area under the risk-coverage curve.
    pub aurc: f64,
    /// That above the oracle's (E-AURC).
    pub excess_aurc: f64,
    /// Expected calibration error, ten bins of equal mass, of Platt's probabilities on records they were not fitted on; `None` with fewer than two of a class. Its
    /// interval is [centred](metrics::Resampled::centred) on the estimate.
    pub ece: Option<Interval>,
    /// Brier score of the same probabilities.
    pub brier: Option<Interval>,
    /// (false positive rate, true positive rate).
    pub roc: Vec<(f64, f64)>,
    /// (coverage, risk).
    pub risk_coverage: Vec<(f64, f64)>,
}

/// Why there is nothing to compare.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BenchError {
    /// A score that does not exist.
    #[error(transparent)]
    UnknownScore(#[from] UnknownScore),
    /// No record has a label.
    #[error("none of the {0} records has a label; a benchmark needs `label`: 1 for wrong, 0 for right")]
    NoLabels(usize),
    /// A record outside all groups.
    #[error("record `{id}` has no `source.{field}` to group by")]
    NoGroup {
        /// The record.
        id: String,
        /// The field.
        field: String,
    },
    /// A setting outside its range.
    #[error(transparent)]
    Setting(MetricError),
}

impl Bench {
    /// The row of highest AUROC among the scores that need the response alone, the length baseline excluded; of equals the one that stands
    /// first in the registry.
    pub fn best_single_pass(&self) -> Option<&Row> {
        let place = |row: &Row| scores::registry().iter().position(|scorer| scorer.name() == row.score);
        let candidates = self.rows.iter().filter(|row| row.single_pass && row.score != LENGTH);
        candidates.min_by(|a, b| b.auroc.estimate.total_cmp(&a.auroc.estimate).then_with(|| place(a).cmp(&place(b))))
    }
}

/// [`bench_with`] the default setup.
///
/// # Errors
/// As [`bench_with`].
pub fn bench(records: &[Record], settings: &BenchSettings) -> Result<Bench, BenchError> {
    bench_with(records, settings, &Setup::default())
}

/// Computes and judges the scores on the labelled records, each score on those that have what it needs. A score for which no metric is
/// defined (all of its records right, say) has no row but stands in `skipped` with the reason.
///
/// # Errors
/// An unknown score, no labelled record, a record outside all groups, a setting outside its range.
pub fn bench_with(records: &[Record], settings: &BenchSettings, setup: &Setup) -> Result<Bench, BenchError> {
    let scorers = chosen(settings.scores.as_deref())?;
    let labelled: Vec<(&Record, bool)> = records.iter().filter_map(|record| Some((record, record.wrong()?))).collect();
    let mut found = empty(records, &labelled)?;
    let groups = groups(&labelled, settings.group_by.as_deref())?;
    found.groups = settings.group_by.as_ref().map(|_| groups.len());
    let mut shown = Vec::new();
    for (scorer, measured) in scorers.iter().zip(columns::columns(&scorers, &labelled, setup)) {
        match measured.row(*scorer, &groups, settings) {
            Ok(row) => {
                found.rows.push(row);
                shown.push(measured);
            }
            Err(error @ MetricError::Setting { .. }) => return Err(BenchError::Setting(error)),
            Err(error) => drop(found.skipped.insert(scorer.name().to_owned(), measured.reason(&error))),
        }
    }
    adjust(&mut found.rows).map_err(BenchError::Setting)?;
    paired::compare(&mut found.rows, &shown, &groups, settings).map_err(BenchError::Setting)?;
    Ok(found)
}

/// What is known before any score.
fn empty(records: &[Record], labelled: &[(&Record, bool)]) -> Result<Bench, BenchError> {
    let wrong: Vec<bool> = labelled.iter().map(|&(_, wrong)| wrong).collect();
    let base_rate = metrics::base_rate(&wrong).map_err(|_| BenchError::NoLabels(records.len()))?;
    let unlabelled = records.iter().filter(|record| record.label.is_none()).map(|record| record.id.clone()).collect();
    Ok(Bench { n: labelled.len(), groups: None, base_rate, unlabelled, rows: Vec::new(), skipped: BTreeMap::new() })
}

/// The labelled records by what their `source` has in `field`; without one, each by itself.
fn groups(labelled: &[(&Record, bool)], field: Option<&str>) -> Result<Groups, BenchError> {
    let Some(field) = field else { return Ok(Groups::single(labelled.len())) };
    let key = |(record, _): &(&Record, bool)| {
        let absent = || BenchError::NoGroup { id: record.id.clone(), field: field.to_owned() };
        record.group(field).ok_or_else(absent)
    };
    Ok(Groups::new(labelled.iter().map(key).collect::<Result<Vec<String>, _>>()?))
}

/// Fills in the p-values adjusted for the number of rows.
fn adjust(rows: &mut [Row]) -> Result<(), MetricError> {
    let adjusted = metrics::holm(&rows.iter().map(|row| row.p_value.min(1.0)).collect::<Vec<_>>())?;
    rows.iter_mut().zip(adjusted).for_each(|(row, p)| row.p_adjusted = p);
    Ok(())
}

/// The scores asked for, and the baseline.
fn chosen(names: Option<&[String]>) -> Result<Vec<&'static dyn Scorer>, UnknownScore> {
    let Some(names) = names else { return Ok(scores::registry().to_vec()) };
    let mut scorers = names.iter().map(|name| scores::find(name)).collect::<Result<Vec<_>, _>>()?;
    if !names.iter().any(|name| name == LENGTH) {
        scorers.push(scores::find(LENGTH)?);
    }
    Ok(scorers)
}
