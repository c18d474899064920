//! Thresholds with a promise that holds for any score and any model, as long as the calibration responses and those to come are drawn alike.
//!
//! Three promises, from the weakest to the strongest:
//!
//! - [`conformal_quantile`]: a new response scores at most τ with probability at least 1 − α (split conformal prediction);
//! - [`control_risk`]: the expected share of responses that are accepted *and* wrong, among **all**, is at most α (conformal risk control);
//! - [`selective_risk`]: the share of wrong responses **among those accepted** is at most α, with a confidence over the draw of the calibration
//!   responses (selective guaranteed risk, by fixed-sequence testing).
//!
//! The first two hold on average over calibration sets, the third for all but a share 1 − confidence of them. None holds for responses of
//! another kind than those calibrated on: [drift](crate::drift) warns of that. Responses that belong together (questions about one person) are not
//! independent draws: [`calibrate`](crate::calibration::calibrate) gives these functions one response of each group.

mod risk_control;
mod selective;
mod split;

use serde::{Deserialize, Serialize};

pub use risk_control::control_risk;
pub use selective::{candidates, selective_risk};
pub use split::conformal_quantile;

use crate::metrics::MetricError;

/// Which share a threshold keeps small.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Wrong responses among those accepted (right ones among those flagged), with a confidence.
    #[default]
    SelectiveRisk,
    /// Responses accepted and wrong (flagged and right) among all, in expectation.
    JointRisk,
}

/// What a threshold promises, and on what grounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Guarantee {
    /// Which share is bounded.
    pub control: Control,
    /// The bound.
    pub alpha: f64,
    /// How surely it holds over draws of the calibration responses; `None` where it holds in expectation.
    pub confidence: Option<f64>,
    /// Calibration responses it rests on, one of each group.
    pub n: usize,
    /// How many of them the threshold lets through.
    pub kept: usize,
    /// How many of those should not have been.
    pub failed: usize,
    /// What the data bound the share by: at most `alpha`.
    pub bound: f64,
}

/// A threshold that keeps its promise: responses of at most this value pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Certified {
    /// The largest value that passes.
    pub threshold: f64,
    /// The promise.
    pub guarantee: Guarantee,
}

impl Guarantee {
    /// The promise in words: responses that are `kept` ("accepted") and `failed` ("wrong").
    pub fn describe(&self, kept: &str, failed: &str) -> String {
        let percent = self.alpha * 100.0;
        let promise = match (self.control, self.confidence) {
            (Control::SelectiveRisk, Some(confidence)) => {
                format!("of the responses {kept}, at most {percent:.1} % are {failed}, with confidence {:.0} %", confidence * 100.0)
            }
            _ => format!("of all responses, at most {percent:.1} % are {kept} and {failed}, in expectation"),
        };
        format!("{promise} ({} of {} in {} calibration responses)", self.failed, self.kept, self.n)
    }
}

fn check_alpha(alpha: f64) -> Result<(), MetricError> {
    let valid = alpha > 0.0 && alpha < 1.0;
    if valid { Ok(()) } else { Err(MetricError::Setting { name: "alpha", value: alpha, expected: "a number between 0 and 1" }) }
}

/// How many values a threshold lets through, and how many of those fail.
fn passed(values: &[f64], failed: &[bool], threshold: f64) -> (usize, usize) {
    let passes = values.iter().zip(failed).filter(|&(&value, _)| value <= threshold);
    passes.fold((0, 0), |(kept, failures), (_, &failed)| (kept + 1, failures + usize::from(failed)))
}
