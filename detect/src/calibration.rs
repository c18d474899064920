//! From a score to a probability of being wrong, and from that to a decision.

use serde::{Deserialize, Serialize};

use crate::metrics::{MetricError, check_classes};
use crate::verdict::Decision;

/// Newton steps before the fit counts as not converged; a convex function of two variables takes about ten.
const MAX_STEPS: usize = 100;
/// Size of the gradient, per item, at which the fit has converged.
const CONVERGED: f64 = 1e-10;

/// Platt scaling (Platt 1999): P(wrong | score) = 1 / (1 + exp(−(slope × score + intercept))).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    /// Log-odds per unit of score. Negative if the score found right responses more suspect.
    pub slope: f64,
    /// Log-odds at score 0.
    pub intercept: f64,
}

/// Why there is no calibrator.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CalibrationError {
    /// The scores or labels do not allow a fit.
    #[error("cannot calibrate: {0}")]
    Data(#[from] MetricError),
    /// The fit did not settle.
    #[error("cannot calibrate: the fit did not converge in {MAX_STEPS} steps")]
    NotConverged,
    /// Thresholds that do not part the probabilities into accept, review and flag.
    #[error("thresholds accept {accept} and flag {flag}; expected 0 <= accept <= flag <= 1")]
    Thresholds {
        /// Below this, accept.
        accept: f64,
        /// From this on, flag.
        flag: f64,
    },
}

impl Platt {
    /// Fits by Newton's method with backtracking (Lin, Lin and Weng 2007) the probabilities to Platt's smoothed targets, (w + 1) / (w + 2) for
    /// the w wrong and 1 / (r + 2) for the r right responses, which keeps the fit finite where the score separates them without fault.
    ///
    /// # Errors
    /// Empty, unequal or non-finite lists, only one class, or no convergence.
    pub fn fit(scores: &[f64], wrong: &[bool]) -> Result<Self, CalibrationError> {
        let positives = check_classes(scores, wrong)? as f64;
        let negatives = wrong.len() as f64 - positives;
        let target = |&wrong: &bool| if wrong { (positives + 1.0) / (positives + 2.0) } else { 1.0 / (negatives + 2.0) };
        let (centre, scale) = centre_and_scale(scores);
        let items: Vec<(f64, f64)> = scores.iter().map(|score| (score - centre) / scale).zip(wrong.iter().map(target)).collect();
        let start = Self { slope: 0.0, intercept: ((positives + 1.0) / (negatives + 1.0)).ln() };
        let fitted = newton(&items, start)?;
        let slope = fitted.slope / scale;
        Ok(Self { slope, intercept: fitted.intercept - slope * centre })
    }

    /// Probability that a response of this score is wrong.
    pub fn probability(&self, score: f64) -> f64 {
        sigmoid(self.log_odds(score))
    }

    fn log_odds(&self, score: f64) -> f64 {
        self.slope * score + self.intercept
    }
}

/// Mean and standard deviation (1 if all scores are equal, up to rounding): the fit runs on scores of comparable size.
fn centre_and_scale(scores: &[f64]) -> (f64, f64) {
    let n = scores.len() as f64;
    let centre = scores.iter().map(|score| score / n).sum::<f64>();
    let scale = scores.iter().map(|score| (score - centre).powi(2) / n).sum::<f64>().sqrt();
    let spread = scale > 1e-12 * centre.abs() && scale.is_finite();
    (centre, if spread { scale } else { 1.0 })
}

fn newton(items: &[(f64, f64)], start: Platt) -> Result<Platt, CalibrationError> {
    let mut at = start;
    for _ in 0..MAX_STEPS {
        let Derivatives { gradient, hessian } = derivatives(items, &at);
        if gradient.iter().all(|part| part.abs() <= CONVERGED * items.len() as f64) {
            return Ok(at);
        }
        at = backtrack(items, &at, newton_step(gradient, hessian), gradient).ok_or(CalibrationError::NotConverged)?;
    }
    Err(CalibrationError::NotConverged)
}

struct Derivatives {
    /// By slope, by intercept.
    gradient: [f64; 2],
    /// Second derivatives: slope twice, mixed, intercept twice.
    hessian: [f64; 3],
}

fn derivatives(items: &[(f64, f64)], at: &Platt) -> Derivatives {
    let mut found = Derivatives { gradient: [0.0; 2], hessian: [0.0; 3] };
    for &(score, target) in items {
        let probability = at.probability(score);
        let (error, weight) = (probability - target, probability * (1.0 - probability));
        found.gradient[0] += error * score;
        found.gradient[1] += error;
        found.hessian[0] += weight * score * score;
        found.hessian[1] += weight * score;
        found.hessian[2] += weight;
    }
    found
}

/// Solves hessian × step = −gradient, the diagonal raised a little so that equal scores (a singular matrix) still have an answer.
fn newton_step(gradient: [f64; 2], hessian: [f64; 3]) -> [f64; 2] {
    let (a, b, c) = (hessian[0] + 1e-12, hessian[1], hessian[2] + 1e-12);
    let determinant = a * c - b * b;
    [(b * gradient[1] - c * gradient[0]) / determinant, (b * gradient[0] - a * gradient[1]) / determinant]
}

/// The first of the full, half, quarter, … step that lowers the loss enough (Armijo's rule).
fn backtrack(items: &[(f64, f64)], at: &Platt, step: [f64; 2], gradient: [f64; 2]) -> Option<Platt> {
    let (before, descent) = (loss(items, at), step[0] * gradient[0] + step[1] * gradient[1]);
    let moved = |size: f64| (Platt { slope: at.slope + size * step[0], intercept: at.intercept + size * step[1] }, size);
    let lower = |(next, size): &(Platt, f64)| loss(items, next) <= before + 1e-4 * size * descent + 1e-12 * before.abs();
    (0..40).map(|halvings| moved(0.5f64.powi(halvings))).find(lower).map(|(next, _)| next)
}

/// Cross-entropy: Σ ln(1 + exp(z)) − target × z, in the form that does not overflow.
fn loss(items: &[(f64, f64)], at: &Platt) -> f64 {
    let of = |&(score, target): &(f64, f64)| {
        let z = at.log_odds(score);
        z.max(0.0) + (-z.abs()).exp().ln_1p() - target * z
    };
    items.iter().map(of).sum()
}

fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 { 1.0 / (1.0 + (-z).exp()) } else { z.exp() / (1.0 + z.exp()) }
}

/// Where probabilities part into decisions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Below this probability of being wrong a response is accepted.
    pub accept: f64,
    /// From this probability on it is flagged; between the two a person reviews it.
    pub flag: f64,
}

impl Default for Thresholds {
    /// Accept what is at most one time in five wrong, flag what is more likely wrong than right.
    fn default() -> Self {
        Self { accept: 0.2, flag: 0.5 }
    }
}

impl Thresholds {
    /// Checks the order.
    ///
    /// # Errors
    /// Unless 0 ≤ accept ≤ flag ≤ 1.
    pub fn new(accept: f64, flag: f64) -> Result<Self, CalibrationError> {
        if 0.0 <= accept && accept <= flag && flag <= 1.0 {
            Ok(Self { accept, flag })
        } else {
            Err(CalibrationError::Thresholds { accept, flag })
        }
    }

    /// The decision at a probability of being wrong.
    pub fn decide(&self, probability: f64) -> Decision {
        match probability {
            p if p >= self.flag => Decision::Flag,
            p if p < self.accept => Decision::Accept,
            _ => Decision::Review,
        }
    }
}

/// All that turns scores into a decision, as it is kept in a file: which score, its calibration, the thresholds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibrator {
    /// The score it reads.
    pub score: String,
    /// From score to probability.
    pub platt: Platt,
    /// From probability to decision.
    #[serde(default)]
    pub thresholds: Thresholds,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_levels_of_score_in_closed_form() {
        // Score 0: one of four wrong; score 1: three of four. Platt's targets are 5/6 and 1/6, so the two levels fit 1/3 and 2/3.
        let scores = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0];
        let wrong = [true, false, false, false, true, true, true, false];
        let fitted = Platt::fit(&scores, &wrong).expect("two classes");
        assert!((fitted.probability(0.0) - 1.0 / 3.0).abs() < 1e-9 && (fitted.probability(1.0) - 2.0 / 3.0).abs() < 1e-9, "{fitted:?}");
    }

    #[test]
    fn a_faultless_score_stays_finite() {
        // Only the smoothing bounds it: 3/4 for two wrong, 1/4 for two right.
        let fitted = Platt::fit(&[1e6, 1e6, 2e6, 2e6], &[false, false, true, true]).expect("two classes");
        assert!((fitted.probability(2e6) - 0.75).abs() < 1e-6 && (fitted.probability(1e6) - 0.25).abs() < 1e-6, "{fitted:?}");
    }

    #[test]
    fn a_score_that_knows_nothing_gives_the_mean_target() {
        // Targets 2/3 and, three times, 1/5. The mean of six times 0.1 is not 0.1, and no spread either.
        let fitted = Platt::fit(&[5.0; 4], &[true, false, false, false]).expect("two classes");
        assert!((fitted.probability(5.0) - (2.0 / 3.0 + 0.6) / 4.0).abs() < 1e-6, "{fitted:?}");
        let fitted = Platt::fit(&[0.1; 6], &[true, true, false, false, false, false]).expect("two classes");
        assert!((fitted.probability(0.1) - 13.0 / 36.0).abs() < 1e-6, "{fitted:?}");
    }

    #[test]
    fn one_class_cannot_be_calibrated() {
        let error = Platt::fit(&[1.0, 2.0], &[false, false]).expect_err("one class");
        assert_eq!(error.to_string(), "cannot calibrate: all 2 responses are right; the metric compares wrong with right ones");
    }

    #[test]
    fn thresholds_part_the_probabilities() {
        let thresholds = Thresholds::new(0.2, 0.5).expect("in order");
        assert_eq!(
            [0.1, 0.2, 0.49, 0.5].map(|p| thresholds.decide(p)),
            [Decision::Accept, Decision::Review, Decision::Review, Decision::Flag]
        );
        assert!(Thresholds::new(0.6, 0.5).is_err() && Thresholds::new(0.1, f64::NAN).is_err());
    }
}
