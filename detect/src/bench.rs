//! Which score finds wrong responses best: every score on labelled records, with intervals, always beside the length baseline.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::calibration::Platt;
use crate::metrics::{self, Interval, MetricError};
use crate::record::Record;
use crate::scores::{self, Cost, LENGTH, Scorer, UnknownScore};
use crate::verdict::finite_score;

/// What to measure and how finely.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchSettings {
    /// Names of the scores; all of the registry if `None`. The length baseline is added if it is not among them.
    pub scores: Option<Vec<String>>,
    /// Bootstrap resamples of every AUROC.
    pub resamples: usize,
    /// Confidence of its interval.
    pub confidence: f64,
    /// Seeds resamples and calibration halves.
    pub seed: u64,
}

impl Default for BenchSettings {
    /// All scores, 1,000 resamples, 95 %, seed 0.
    fn default() -> Self {
        Self { scores: None, resamples: 1000, confidence: 0.95, seed: 0 }
    }
}

/// The comparison of scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// Labelled records.
    pub n: usize,
    /// Share of them that is wrong.
    pub base_rate: f64,
    /// Ids of the records left out for want of a label.
    pub unlabelled: Vec<String>,
    /// One row a score, in the order asked for.
    pub rows: Vec<Row>,
    /// Scores without a row, and why.
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
    /// Labelled records it was computed on.
    pub n: usize,
    /// Labelled records it could not be computed on.
    pub missing: usize,
    /// What those lack, and how many of them.
    pub lacks: BTreeMap<String, usize>,
    /// Area under the ROC curve, percentile bootstrap over records.
    pub auroc: Interval,
    /// Two-sided p-value of the Mann-Whitney test of AUROC = 1/2.
    pub p_value: f64,
    /// Average precision; chance is `base_rate` below.
    pub auc_pr: f64,
    /// Share wrong among the `n` records of this row.
    pub base_rate: f64,
    /// Prediction-rejection ratio over all rejection rates.
    pub prr: f64,
    /// The same up to rejecting half; `None` below four records.
    pub prr_half: Option<f64>,
    /// Area under the risk-coverage curve.
    pub aurc: f64,
    /// Expected calibration error of Platt's probabilities on records they were not fitted on; `None` with fewer than two of a class.
    pub ece: Option<f64>,
    /// Brier score of the same probabilities.
    pub brier: Option<f64>,
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
    /// A setting outside its range.
    #[error(transparent)]
    Setting(MetricError),
}

impl Bench {
    /// The row of highest AUROC among the scores that need the response alone, the length baseline excluded.
    pub fn best_single_pass(&self) -> Option<&Row> {
        let candidates = self.rows.iter().filter(|row| row.single_pass && row.score != LENGTH);
        candidates.max_by(|a, b| a.auroc.estimate.total_cmp(&b.auroc.estimate))
    }
}

/// Computes and judges the scores on the labelled records, each score on those that have what it needs. A score for which no metric is
/// defined (all of its records right, say) has no row but stands in `skipped` with the reason.
///
/// # Errors
/// An unknown score, no labelled record, a setting outside its range.
pub fn bench(records: &[Record], settings: &BenchSettings) -> Result<Bench, BenchError> {
    let scorers = chosen(settings.scores.as_deref())?;
    let labelled: Vec<(&Record, bool)> = records.iter().filter_map(|record| Some((record, record.wrong()?))).collect();
    let wrong: Vec<bool> = labelled.iter().map(|&(_, wrong)| wrong).collect();
    let base_rate = metrics::base_rate(&wrong).map_err(|_| BenchError::NoLabels(records.len()))?;
    let unlabelled = records.iter().filter(|record| record.label.is_none()).map(|record| record.id.clone()).collect();
    let mut found = Bench { n: labelled.len(), base_rate, unlabelled, rows: Vec::new(), skipped: BTreeMap::new() };
    for scorer in scorers {
        match judge(scorer, &labelled, settings) {
            Ok(row) => found.rows.push(row),
            Err(error @ MetricError::Setting { .. }) => return Err(BenchError::Setting(error)),
            Err(reason) => drop(found.skipped.insert(scorer.name().to_owned(), reason.to_string())),
        }
    }
    Ok(found)
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

fn judge(scorer: &dyn Scorer, labelled: &[(&Record, bool)], settings: &BenchSettings) -> Result<Row, MetricError> {
    let computed: Vec<_> = labelled.par_iter().map(|(record, wrong)| finite_score(scorer, record).map(|score| (score, *wrong))).collect();
    let mut lacks = BTreeMap::new();
    computed.iter().filter_map(|result| result.as_ref().err()).for_each(|missing| *lacks.entry(missing.to_string()).or_default() += 1);
    let (scores, wrong): (Vec<f64>, Vec<bool>) = computed.into_iter().flatten().unzip();
    let calibrated = cross_calibrated(&scores, &wrong, settings.seed);
    let over_halves =
        |metric: fn(&[f64], &[bool]) -> Result<f64, MetricError>| calibrated.as_ref().and_then(|halves| halves_mean(halves, metric));
    Ok(Row {
        score: scorer.name().to_owned(),
        single_pass: scorer.single_pass(),
        cost: scorer.cost(),
        n: scores.len(),
        missing: labelled.len() - scores.len(),
        lacks,
        auroc: auroc_interval(&scores, &wrong, settings)?,
        p_value: metrics::mann_whitney(&scores, &wrong)?,
        auc_pr: metrics::average_precision(&scores, &wrong)?,
        base_rate: metrics::base_rate(&wrong)?,
        prr: metrics::prr(&scores, &wrong, 1.0)?,
        prr_half: metrics::prr(&scores, &wrong, 0.5).ok(),
        aurc: metrics::aurc(&scores, &wrong)?,
        ece: over_halves(metrics::ece),
        brier: over_halves(metrics::brier),
        roc: metrics::roc_curve(&scores, &wrong)?,
        risk_coverage: metrics::risk_coverage_curve(&scores, &wrong)?,
    })
}

fn auroc_interval(scores: &[f64], wrong: &[bool], settings: &BenchSettings) -> Result<Interval, MetricError> {
    metrics::auroc(scores, wrong)?;
    let resampled = |items: &[usize]| {
        let (scores, wrong) = pick(scores, wrong, items);
        metrics::auroc(&scores, &wrong).ok()
    };
    metrics::bootstrap(scores.len(), settings.resamples, settings.confidence, settings.seed, resampled)
}

/// Calibrated probabilities and labels of one half of the records.
type Half = (Vec<f64>, Vec<bool>);

/// Two halves, seeded and with the classes shared out evenly, each with the probabilities of a Platt calibrator fitted on the other half.
/// `None` where a half cannot be fitted.
fn cross_calibrated(scores: &[f64], wrong: &[bool], seed: u64) -> Option<[Half; 2]> {
    let mut order: Vec<usize> = (0..wrong.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order.sort_by_key(|&item| wrong[item]);
    let half = |parity: usize| pick(scores, wrong, &order.iter().copied().skip(parity).step_by(2).collect::<Vec<_>>());
    let (first, second) = (half(0), half(1));
    Some([calibrated(&first, &second)?, calibrated(&second, &first)?])
}

fn calibrated(fitted_on: &Half, judged_on: &Half) -> Option<Half> {
    let platt = Platt::fit(&fitted_on.0, &fitted_on.1).ok()?;
    Some((judged_on.0.iter().map(|&score| platt.probability(score)).collect(), judged_on.1.clone()))
}

fn halves_mean(halves: &[Half; 2], metric: fn(&[f64], &[bool]) -> Result<f64, MetricError>) -> Option<f64> {
    let [first, second] = halves;
    Some((metric(&first.0, &first.1).ok()? + metric(&second.0, &second.1).ok()?) / 2.0)
}

fn pick(scores: &[f64], wrong: &[bool], items: &[usize]) -> Half {
    items.iter().map(|&item| (scores[item], wrong[item])).unzip()
}
