//! How well hallucination scores tell wrong answers from right ones, and which answers they flagged.

use serde::{Deserialize, Serialize};

use super::Interval;
use super::number::null_as_nan;

/// The quality of one score on one arm. Wrong answers are the positive class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScoreResult {
    /// The arm's name.
    pub arm: String,
    /// The score's name in the registry; `length` is the baseline.
    pub score: String,
    /// Area under the ROC curve.
    pub auroc: Option<f64>,
    /// Bootstrap interval of it.
    pub auroc_interval: Option<Interval>,
    /// Area under the precision–recall curve.
    pub auc_pr: Option<f64>,
    /// Share of wrong answers: what `auc_pr` is for a score that knows nothing.
    pub base_rate: Option<f64>,
    /// Prediction rejection ratio.
    pub prr: Option<f64>,
    /// Expected calibration error, after calibration.
    pub ece: Option<f64>,
    /// Brier score, after calibration.
    pub brier: Option<f64>,
    /// What the score needs, in words: `the answer itself`, `10 samples`.
    pub cost: String,
}

/// A curve of one score on one arm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Curve2d {
    /// The arm's name.
    pub arm: String,
    /// The score's name.
    pub score: String,
    /// The curve's points, in order.
    pub points: Vec<Point>,
}

/// A point of a curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Horizontal value.
    #[serde(deserialize_with = "null_as_nan")]
    pub x: f64,
    /// Vertical value.
    #[serde(deserialize_with = "null_as_nan")]
    pub y: f64,
}

/// An answer that looked made up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Flagged {
    /// The name of the arm that answered.
    pub arm: String,
    /// What was asked.
    pub prompt: String,
    /// What was answered.
    pub response: String,
    /// The right answers; empty where none exists or none is known.
    pub reference: Vec<String>,
    /// 1 = the answer is wrong, 0 = it is right, `None` = not known.
    pub label: Option<u8>,
    /// The group the question belongs to: `never told`, `told 5 ×`.
    pub group: String,
    /// The name of the score that flagged it.
    pub score_name: String,
    /// That score; higher is more suspect.
    pub score: Option<f64>,
    /// The answer's tokens.
    pub tokens: Vec<Token>,
}

/// One generated token and how sure the model was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Token {
    /// The token's text, with its spaces.
    pub text: String,
    /// Negative log-probability, nats.
    pub surprise: Option<f64>,
    /// Entropy of the distribution it was drawn from, nats.
    pub entropy: Option<f64>,
}
