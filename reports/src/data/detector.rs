//! One detector on one model: every score, by whom the questions are about, and the verdict that was calibrated on some people and judged
//! on others.

use serde::{Deserialize, Serialize};

use super::Interval;
use super::number::null_as_nan;

/// What all scores together can tell of one model's answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detector {
    /// The arm's name.
    pub arm: String,
    /// The groups that the columns of [`DetectorScore::groups`] stand for, in order.
    pub groups: Vec<DetectorGroup>,
    /// Every score.
    pub scores: Vec<DetectorScore>,
    /// Scores that could not be computed, and why.
    pub skipped: Vec<(String, String)>,
    /// The calibrated verdict.
    pub calibrated: Option<Calibrated>,
    /// What the table says, in sentences.
    pub findings: Vec<String>,
}

/// Some of the judged answers, told apart from the right answers of the headline groups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DetectorGroup {
    /// Short name, a column's head.
    pub name: String,
    /// What is compared, a sentence.
    pub meaning: String,
    /// Answers of the group.
    pub answers: usize,
}

/// One score.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DetectorScore {
    /// Its name in the registry; `length` is the baseline.
    pub score: String,
    /// What it needs, in words.
    pub cost: String,
    /// Judged answers it could be computed on.
    pub answers: usize,
    /// Area under the ROC curve over all headline answers.
    pub auroc: Option<f64>,
    /// Interval of it, by person.
    pub auroc_interval: Option<Interval>,
    /// Prediction rejection ratio.
    pub prr: Option<f64>,
    /// AUROC of each group's answers against the right headline answers; 0.5 = cannot be told apart.
    pub groups: Vec<Option<f64>>,
}

/// Probabilities of being wrong, chosen and fitted on one part of the people and judged on the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Calibrated {
    /// The score that was chosen.
    pub score: String,
    /// How it becomes a probability.
    pub method: String,
    /// People and questions it was chosen and fitted on.
    pub fitted_on: (usize, usize),
    /// People and questions it was judged on.
    pub judged_on: (usize, usize),
    /// Area under the ROC curve on the judged questions.
    pub auroc: Option<f64>,
    /// Interval of it, by person.
    pub auroc_interval: Option<Interval>,
    /// Expected calibration error in ten bins of equal mass.
    pub ece: Option<f64>,
    /// Interval of it, by person.
    pub ece_interval: Option<Interval>,
    /// Brier score.
    pub brier: Option<f64>,
    /// What was promised and what came true, bin by bin.
    pub bins: Vec<ReliabilityBin>,
    /// The promise about accepted answers.
    pub guarantee: Option<Guarantee>,
    /// Promises put to the test.
    pub coverage: Option<Coverage>,
}

/// Answers of similar probability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReliabilityBin {
    /// Mean probability of being wrong.
    pub predicted: Option<f64>,
    /// Share that was wrong.
    pub wrong: Option<f64>,
    /// Answers in the bin.
    pub answers: usize,
}

/// A bounded share of wrong answers among the accepted ones, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Guarantee {
    /// The bound.
    #[serde(deserialize_with = "null_as_nan")]
    pub alpha: f64,
    /// How sure it is.
    #[serde(deserialize_with = "null_as_nan")]
    pub confidence: f64,
    /// Answers it was derived from.
    pub n: usize,
    /// Share of the judged answers that are accepted.
    pub accepted: Option<f64>,
    /// Share wrong among them.
    pub wrong_among_accepted: Option<f64>,
    /// Share wrong among all judged answers.
    pub wrong_among_all: Option<f64>,
}

/// Promises put to the test on many random partings of the judged people: thresholds set on half of them, looked at on the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Coverage {
    /// How many partings.
    pub partings: usize,
    /// Judged people.
    pub people: usize,
    /// Split conformal threshold: share of right answers below it, promised at least 1 - alpha; mean over the partings.
    #[serde(deserialize_with = "null_as_nan")]
    pub right_kept: f64,
    /// Conformal risk control: share of all answers accepted and wrong, promised at most alpha; mean over the partings.
    #[serde(deserialize_with = "null_as_nan")]
    pub accepted_and_wrong: f64,
    /// Standard error of `right_kept` over the partings.
    #[serde(deserialize_with = "null_as_nan")]
    pub right_kept_error: f64,
    /// Standard error of `accepted_and_wrong` over the partings.
    #[serde(deserialize_with = "null_as_nan")]
    pub accepted_and_wrong_error: f64,
    /// Selective risk: share of the partings whose threshold keeps the share wrong among accepted, of all judged answers, at most alpha;
    /// promised at least the confidence.
    #[serde(deserialize_with = "null_as_nan")]
    pub selective_kept: f64,
    /// Share of all judged answers that those thresholds accept; mean over the partings.
    #[serde(deserialize_with = "null_as_nan")]
    pub accepted: f64,
}
