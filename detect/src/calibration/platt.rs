//! Platt scaling: a logistic curve of two parameters, for scores of any range and few labels.

use serde::{Deserialize, Serialize};

use super::{CalibrationError, MAX_STEPS, sigmoid, targets};
use crate::metrics::check_classes;

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

impl Platt {
    /// Fits by Newton's method with backtracking (Lin, Lin and Weng 2007) the probabilities to Platt's smoothed targets, (w + 1) / (w + 2) for
    /// the w wrong and 1 / (r + 2) for the r right responses, which keeps the fit finite where the score separates them without fault.
    ///
    /// # Errors
    /// Empty, unequal or non-finite lists, only one class, or no convergence.
    pub fn fit(scores: &[f64], wrong: &[bool]) -> Result<Self, CalibrationError> {
        let positives = check_classes(scores, wrong)? as f64;
        let negatives = wrong.len() as f64 - positives;
        let (centre, scale) = centre_and_scale(scores);
        let items: Vec<(f64, f64)> = scores.iter().map(|score| (score - centre) / scale).zip(targets(wrong)).collect();
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
}
