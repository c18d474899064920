//! How well a score finds wrong responses, and how sure one can be of that.
//!
//! Every metric takes the scores (higher = more suspect) and whether each response is wrong; wrong is the positive class. Where a value is
//! not defined (no items, only one class) the answer is a named error, never NaN. Ties are resolved by expectation: no value depends on the
//! order of the items.

mod bootstrap;
mod calibration_error;
mod clusters;
mod corrections;
mod correlation;
mod delong;
mod intervals;
mod mcnemar;
mod ranking;
mod rejection;
mod roc;
mod trapezoid;

pub use bootstrap::{Interval, Resampled, bootstrap, paired_bootstrap, resample};
pub use calibration_error::{Bin, Binning, BrierParts, DEFAULT_BINS, brier, brier_parts, ece, ece_with, mce, reliability_bins};
pub use clusters::{Groups, cluster_bootstrap, resample_groups};
pub use corrections::{benjamini_hochberg, holm};
pub use correlation::{pearson, spearman};
pub use delong::{AurocDifference, auroc_variance, delong_interval, delong_test};
pub use intervals::{binomial_interval, binomial_upper, student_t};
pub use mcnemar::{McNemar, mcnemar};
pub(crate) use ranking::Ranking;
pub(crate) use rejection::prr_of;
pub use rejection::{aurac, aurc, excess_aurc, prr, rejection_area, risk_coverage_curve};
pub use roc::{auroc, average_precision, mann_whitney, roc_curve};
pub(crate) use roc::{auroc_of, average_precision_of};
pub use trapezoid::auc_pr_trapezoid;

/// Why a metric has no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MetricError {
    /// Nothing to measure.
    #[error("no items to measure")]
    Empty,
    /// Too few values.
    #[error("{found} values; at least {needed} are needed")]
    TooFew {
        /// How many the metric needs.
        needed: usize,
        /// How many there are.
        found: usize,
    },
    /// One list is longer than the other.
    #[error("{scores} scores but {labels} labels")]
    Lengths {
        /// How many scores.
        scores: usize,
        /// How many labels.
        labels: usize,
    },
    /// The metric compares wrong with right responses.
    #[error("all {items} responses are {class}; the metric compares wrong with right ones")]
    SingleClass {
        /// How many items.
        items: usize,
        /// `right` or `wrong`.
        class: &'static str,
    },
    /// All values of a list are the same, or there are none.
    #[error("a list without variance has no correlation")]
    Constant,
    /// NaN or infinite.
    #[error("score {index} is {value}, not a finite number")]
    NotFinite {
        /// Which one.
        index: usize,
        /// What stands there.
        value: f64,
    },
    /// A probability outside 0 to 1.
    #[error("probability {index} is {value}, outside 0 to 1")]
    NotProbability {
        /// Which one.
        index: usize,
        /// What stands there.
        value: f64,
    },
    /// A setting outside its range.
    #[error("{name} is {value}; expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// Its range.
        expected: &'static str,
    },
    /// No resample had a value.
    #[error("the statistic is undefined in all {0} resamples")]
    Undefined(usize),
}

/// Share of wrong responses: what [`average_precision`] is for a score that knows nothing.
///
/// # Errors
/// [`MetricError::Empty`].
pub fn base_rate(wrong: &[bool]) -> Result<f64, MetricError> {
    if wrong.is_empty() { Err(MetricError::Empty) } else { Ok(count(wrong) as f64 / wrong.len() as f64) }
}

fn count(wrong: &[bool]) -> usize {
    wrong.iter().filter(|&&wrong| wrong).count()
}

/// Equal lengths, at least one item, finite scores.
pub(crate) fn check(scores: &[f64], wrong: &[bool]) -> Result<(), MetricError> {
    if scores.len() != wrong.len() {
        return Err(MetricError::Lengths { scores: scores.len(), labels: wrong.len() });
    }
    if scores.is_empty() {
        return Err(MetricError::Empty);
    }
    check_finite(scores)
}

pub(crate) fn check_finite(values: &[f64]) -> Result<(), MetricError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(MetricError::NotFinite { index, value: values[index] }),
        None => Ok(()),
    }
}

/// As [`check`], and both classes are there. Returns how many are wrong.
pub(crate) fn check_classes(scores: &[f64], wrong: &[bool]) -> Result<usize, MetricError> {
    check(scores, wrong)?;
    match count(wrong) {
        0 => Err(MetricError::SingleClass { items: wrong.len(), class: "right" }),
        all if all == wrong.len() => Err(MetricError::SingleClass { items: wrong.len(), class: "wrong" }),
        some => Ok(some),
    }
}

fn check_probabilities(probabilities: &[f64], wrong: &[bool]) -> Result<(), MetricError> {
    check(probabilities, wrong)?;
    match probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
        Some(index) => Err(MetricError::NotProbability { index, value: probabilities[index] }),
        None => Ok(()),
    }
}

pub(crate) fn check_confidence(confidence: f64) -> Result<(), MetricError> {
    let valid = confidence > 0.0 && confidence < 1.0;
    if valid { Ok(()) } else { Err(MetricError::Setting { name: "confidence", value: confidence, expected: "a number between 0 and 1" }) }
}
