//! Whether scores still look like those the calibrator was fitted on. Probabilities and promises hold for responses drawn like the calibration
//! ones; a model, a prompt or a topic that changes the scores takes them away without a sign. Two warnings: a score outside of the range seen,
//! and a batch whose scores are distributed otherwise.

use serde::{Deserialize, Serialize};

use crate::metrics::{MetricError, check_finite};

/// Most values of the calibration scores that are kept.
const KEPT: usize = 1000;

/// The scores of the calibration responses, thinned to at most a thousand order statistics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// How many scores there were.
    n: usize,
    /// Some of them, rising, the least and the greatest among them; all if there were at most a thousand.
    values: Vec<f64>,
}

/// How far a batch of scores is from the calibration scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Scores in the batch.
    pub n: usize,
    /// Share of them outside of the calibration range; about 2 / (calibration scores + 1) where nothing drifts.
    pub outside: f64,
    /// Kolmogorov-Smirnov distance: the largest gap between the two distribution functions.
    pub statistic: f64,
    /// Probability of so large a gap where nothing drifts.
    pub p_value: f64,
}

impl Reference {
    /// Of the calibration scores.
    ///
    /// # Errors
    /// No scores, or scores that are not finite.
    pub fn new(scores: &[f64]) -> Result<Self, MetricError> {
        check_finite(scores)?;
        let mut sorted = scores.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (n, kept) = (sorted.len(), sorted.len().min(KEPT));
        if n == 0 {
            return Err(MetricError::Empty);
        }
        let place = |k: usize| if kept == 1 { 0 } else { k * (n - 1) / (kept - 1) };
        Ok(Self { n, values: (0..kept).map(|k| sorted[place(k)]).collect() })
    }

    /// The least and the greatest calibration score.
    pub fn range(&self) -> (f64, f64) {
        (self.values.first().copied().unwrap_or(f64::NEG_INFINITY), self.values.last().copied().unwrap_or(f64::INFINITY))
    }

    /// How many calibration scores there were.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Whether a score lies outside of the calibration range.
    pub fn is_outside(&self, score: f64) -> bool {
        let (low, high) = self.range();
        score < low || score > high
    }

    /// Compares a batch of scores: the two-sample Kolmogorov-Smirnov test, with Stephens' (1970) approximation of its p-value.
    ///
    /// # Errors
    /// No scores, or scores that are not finite.
    pub fn drift(&self, scores: &[f64]) -> Result<Drift, MetricError> {
        check_finite(scores)?;
        if scores.is_empty() {
            return Err(MetricError::Empty);
        }
        let mut sorted = scores.to_vec();
        sorted.sort_by(f64::total_cmp);
        let statistic = distance(&self.values, &sorted);
        let n = sorted.len();
        let outside = sorted.iter().filter(|&&score| self.is_outside(score)).count() as f64 / n as f64;
        let effective = (self.n as f64 * n as f64 / (self.n + n) as f64).sqrt();
        Ok(Drift { n, outside, statistic, p_value: kolmogorov((effective + 0.12 + 0.11 / effective) * statistic) })
    }

    pub(crate) fn fault(&self) -> Option<&'static str> {
        let rising = self.values.windows(2).all(|pair| pair[0] <= pair[1]);
        (self.values.is_empty() || self.values.len() > self.n || !rising).then_some("its calibration scores do not rise, or are none")
    }
}

/// Largest gap between the distribution functions of two sorted lists.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let up_to = |sorted: &[f64], value: f64| sorted.partition_point(|&other| other <= value) as f64 / sorted.len() as f64;
    a.iter().chain(b).map(|&value| (up_to(a, value) - up_to(b, value)).abs()).fold(0.0, f64::max)
}

/// Kolmogorov's distribution, upper tail: 2 Σ (−1)^(k−1) exp(−2 k² x²).
fn kolmogorov(x: f64) -> f64 {
    // Below this the tail is 1 to within 1e-14 and the series slow.
    if x < 0.2 {
        return 1.0;
    }
    let term = |k: i32| f64::from(1 - 2 * ((k - 1) % 2)) * (-2.0 * f64::from(k * k) * x * x).exp();
    (2.0 * (1..=40).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_of_many_keep_the_range_and_the_shape() {
        let scores: Vec<f64> = (0..100_000).rev().map(f64::from).collect();
        let reference = Reference::new(&scores).expect("scores");
        assert_eq!((reference.n(), reference.values.len(), reference.range()), (100_000, 1000, (0.0, 99_999.0)));
        let same = reference.drift(&scores).expect("scores");
        assert!(same.statistic < 2e-3 && same.outside == 0.0, "{same:?}");
    }

    #[test]
    fn a_shifted_batch_is_found_and_a_like_one_is_not() {
        let reference = Reference::new(&(0..300).map(f64::from).collect::<Vec<_>>()).expect("scores");
        let like = reference.drift(&(0..60).map(|i| f64::from(i * 5)).collect::<Vec<_>>()).expect("scores");
        let shifted = reference.drift(&(0..60).map(|i| f64::from(i * 5 + 100)).collect::<Vec<_>>()).expect("scores");
        assert!(like.p_value > 0.99 && like.outside == 0.0, "{like:?}");
        assert!(shifted.p_value < 1e-3 && (shifted.outside - 20.0 / 60.0).abs() < 1e-12, "{shifted:?}");
        assert!(reference.is_outside(-0.1) && reference.is_outside(299.5) && !reference.is_outside(299.0));
    }

    #[test]
    fn nothing_to_compare_is_named() {
        assert_eq!(Reference::new(&[]), Err(MetricError::Empty));
        let one = Reference::new(&[1.0]).expect("a score");
        assert_eq!(one.drift(&[]), Err(MetricError::Empty));
        assert!(matches!(one.drift(&[f64::INFINITY]), Err(MetricError::NotFinite { .. })));
    }
}
