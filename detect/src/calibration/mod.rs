//! From a score to a probability of being wrong, and from that to a decision.
//!
//! A raw score ranks responses; it does not say how likely one is wrong. A [`Calibration`], fitted on labelled responses by one of five
//! [`Method`]s, does. [`Thresholds`] part its probabilities into accept, review and flag, with a [guarantee](crate::guarantee) where one was
//! asked for. [`calibrate`] chooses score and method, judges them on responses they have not seen, and returns the [`Calibrator`] that is kept
//! in a file.

mod bins;
mod calibrate;
mod calibrator;
mod isotonic;
mod judged;
mod platt;
mod select;
mod split;
mod temperature;
mod thresholds;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::metrics::MetricError;

pub use bins::{Bins, DEFAULT_MASS_BINS};
pub use calibrate::{Calibrated, Settings, calibrate, calibrate_parts};
pub use calibrator::{Calibrator, CalibratorFileError, VERSION};
pub use isotonic::Curve;
pub use judged::{Judged, Share};
pub use platt::Platt;
pub use select::{Candidate, Trial};
pub use temperature::Temperature;
pub use thresholds::{Threshold, Thresholds};

/// Newton steps before a fit counts as not converged; a convex function of two variables takes about ten.
const MAX_STEPS: usize = 100;

/// Why there is no calibrator.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CalibrationError {
    /// The scores or labels do not allow a fit.
    #[error("cannot calibrate: {0}")]
    Data(#[from] MetricError),
    /// The fit did not settle.
    #[error("cannot calibrate: the fit did not converge in {MAX_STEPS} steps")]
    NotConverged,
    /// Temperature is for numbers that are probabilities already.
    #[error("cannot calibrate by temperature: score {index} is {value}; expected a number from 0 to 1")]
    NotProbabilityLike {
        /// Which one.
        index: usize,
        /// What stands there.
        value: f64,
    },
    /// Thresholds that do not part the probabilities into accept, review and flag.
    #[error("thresholds accept {accept} and flag {flag}; expected 0 <= accept < flag <= 1")]
    Thresholds {
        /// Up to here, accept.
        accept: f64,
        /// From this on, flag.
        flag: f64,
    },
    /// No combination of score and method could be fitted.
    #[error("cannot calibrate: no score and method could be fitted; the first failure: {0}")]
    NoChoice(String),
}

/// How a score becomes a probability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Logistic curve of two parameters.
    Platt,
    /// One parameter on the log-odds of a score that lies between 0 and 1.
    Temperature,
    /// The best rising step function, straight between steps.
    Isotonic,
    /// The same with each step drawn together to its centre, so that ranks stay strict.
    CentredIsotonic,
    /// Share wrong in bins of equal numbers of responses.
    Bins,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Platt, Self::Temperature, Self::Isotonic, Self::CentredIsotonic, Self::Bins];

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Platt => "platt",
            Self::Temperature => "temperature",
            Self::Isotonic => "isotonic",
            Self::CentredIsotonic => "centred_isotonic",
            Self::Bins => "bins",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|method| method.name() == name)
            .ok_or_else(|| format!("unknown method `{name}`; expected one of {}", names()))
    }
}

/// A fitted method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Calibration {
    /// [`Method::Platt`].
    Platt(Platt),
    /// [`Method::Temperature`].
    Temperature(Temperature),
    /// [`Method::Isotonic`].
    Isotonic(Curve),
    /// [`Method::CentredIsotonic`].
    CentredIsotonic(Curve),
    /// [`Method::Bins`].
    Bins(Bins),
}

impl Calibration {
    /// Fits the method to labelled scores.
    ///
    /// # Errors
    /// Empty, unequal or non-finite lists, only one class, no convergence, a temperature for scores outside 0 to 1.
    pub fn fit(method: Method, scores: &[f64], wrong: &[bool]) -> Result<Self, CalibrationError> {
        Ok(match method {
            Method::Platt => Self::Platt(Platt::fit(scores, wrong)?),
            Method::Temperature => Self::Temperature(Temperature::fit(scores, wrong)?),
            Method::Isotonic => Self::Isotonic(Curve::isotonic(scores, wrong)?),
            Method::CentredIsotonic => Self::CentredIsotonic(Curve::centred_isotonic(scores, wrong)?),
            Method::Bins => Self::Bins(Bins::fit(scores, wrong, DEFAULT_MASS_BINS)?),
        })
    }

    /// Probability that a response of this score is wrong, 0 to 1.
    pub fn probability(&self, score: f64) -> f64 {
        match self {
            Self::Platt(platt) => platt.probability(score),
            Self::Temperature(temperature) => temperature.probability(score),
            Self::Isotonic(curve) | Self::CentredIsotonic(curve) => curve.probability(score),
            Self::Bins(bins) => bins.probability(score),
        }
    }

    /// Which method it is.
    pub fn method(&self) -> Method {
        match self {
            Self::Platt(_) => Method::Platt,
            Self::Temperature(_) => Method::Temperature,
            Self::Isotonic(_) => Method::Isotonic,
            Self::CentredIsotonic(_) => Method::CentredIsotonic,
            Self::Bins(_) => Method::Bins,
        }
    }

    /// What is wrong with parameters that did not come from a fit.
    fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Platt(_) => None,
            Self::Temperature(temperature) => temperature.fault(),
            Self::Isotonic(curve) | Self::CentredIsotonic(curve) => curve.fault(),
            Self::Bins(bins) => bins.fault(),
        }
    }
}

/// Platt's smoothed targets: (w + 1) / (w + 2) for each of w wrong, 1 / (r + 2) for each of r right responses.
fn targets(wrong: &[bool]) -> impl Iterator<Item = f64> {
    let positives = wrong.iter().filter(|&&wrong| wrong).count() as f64;
    let negatives = wrong.len() as f64 - positives;
    wrong.iter().map(move |&wrong| if wrong { (positives + 1.0) / (positives + 2.0) } else { 1.0 / (negatives + 2.0) })
}

fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 { 1.0 / (1.0 + (-z).exp()) } else { z.exp() / (1.0 + z.exp()) }
}
