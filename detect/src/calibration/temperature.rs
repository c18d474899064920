//! Temperature scaling: one parameter that sharpens or softens a number that is a probability already.

use serde::{Deserialize, Serialize};

use super::{CalibrationError, sigmoid, targets};
use crate::metrics::check_classes;

/// Scores are kept this far from 0 and 1, where log-odds end.
const MARGIN: f64 = 1e-6;
/// Halvings of the interval that holds the solution; they exhaust an `f64`.
const HALVINGS: usize = 200;

/// Temperature scaling (Guo et al. 2017, arXiv 1706.04599) of a score between 0 and 1 that rises with the probability of being wrong:
/// P(wrong | score) = 1 / (1 + exp(−logit(score) / T)).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    /// 1 / T, at least 0: above 1 the score is too timid, below 1 too sure; 0 where it says nothing, or the contrary.
    pub inverse_temperature: f64,
}

impl Temperature {
    /// Fits by bisection of the derivative of the cross-entropy, to Platt's smoothed targets, which keep the fit finite where the score
    /// separates the classes without fault.
    ///
    /// # Errors
    /// Scores outside 0 to 1, empty or unequal lists, only one class.
    pub fn fit(scores: &[f64], wrong: &[bool]) -> Result<Self, CalibrationError> {
        check_classes(scores, wrong)?;
        if let Some(index) = scores.iter().position(|score| !(0.0..=1.0).contains(score)) {
            return Err(CalibrationError::NotProbabilityLike { index, value: scores[index] });
        }
        let items: Vec<(f64, f64)> = scores.iter().map(|&score| logit(score)).zip(targets(wrong)).collect();
        let derivative = |at: f64| items.iter().map(|&(z, target)| (sigmoid(at * z) - target) * z).sum::<f64>();
        Ok(Self { inverse_temperature: root(derivative) })
    }

    /// Probability that a response of this score is wrong; scores outside 0 to 1 count as the nearer end.
    pub fn probability(&self, score: f64) -> f64 {
        sigmoid(self.inverse_temperature * logit(score))
    }

    pub(super) fn fault(&self) -> Option<&'static str> {
        (self.inverse_temperature < 0.0).then_some("inverse_temperature is negative")
    }
}

fn logit(score: f64) -> f64 {
    let p = score.clamp(MARGIN, 1.0 - MARGIN);
    (p / (1.0 - p)).ln()
}

/// Where a rising function crosses zero on the positive axis; 0 if it is never below zero there.
fn root(rising: impl Fn(f64) -> f64) -> f64 {
    if rising(0.0) >= 0.0 {
        return 0.0;
    }
    let mut high = 1.0;
    while rising(high) < 0.0 && high < 1e9 {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if rising(middle) < 0.0 { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_level_and_its_mirror_in_closed_form() {
        // 0.9 for two wrong of two, 0.1 for two right of two: targets 3/4 and 1/4, and logit(3/4) / logit(0.9) = 1/2.
        let fitted = Temperature::fit(&[0.9, 0.9, 0.1, 0.1], &[true, true, false, false]).expect("two classes");
        assert!((fitted.inverse_temperature - 0.5).abs() < 1e-12, "{fitted:?}");
        assert!((fitted.probability(0.9) - 0.75).abs() < 1e-12 && fitted.probability(2.0) == fitted.probability(1.0));
    }

    #[test]
    fn a_score_that_says_the_contrary_is_silenced() {
        let fitted = Temperature::fit(&[0.0, 1.0, 0.5], &[true, false, true]).expect("two classes");
        assert_eq!((fitted.inverse_temperature, fitted.probability(0.2)), (0.0, 0.5));
    }

    #[test]
    fn scores_that_are_no_probabilities_are_refused() {
        let error = Temperature::fit(&[0.5, 1.5], &[true, false]).expect_err("outside");
        assert_eq!(error.to_string(), "cannot calibrate by temperature: score 1 is 1.5; expected a number from 0 to 1");
    }
}
