//! Isotonic calibration: the share of wrong responses may rise with the score in any way, but not fall.

use serde::{Deserialize, Serialize};

use super::CalibrationError;
use crate::metrics::check_classes;

/// A rising curve from score to probability, straight between its points and flat beyond them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// (score, probability), scores strictly rising, probabilities not falling; at least one.
    points: Vec<(f64, f64)>,
}

/// Neighbouring scores that share one probability.
#[derive(Debug, Clone, Copy)]
struct Level {
    low: f64,
    high: f64,
    sum: f64,
    items: usize,
    wrong: usize,
}

impl Curve {
    /// Isotonic regression (Ayer et al. 1955) of the labels on the score by pooling adjacent violators: each pool of scores has its share of
    /// wrong ones, and the curve is straight between pools, as scikit-learn's `IsotonicRegression` has it.
    ///
    /// # Errors
    /// Empty, unequal or non-finite lists, or only one class.
    pub fn isotonic(scores: &[f64], wrong: &[bool]) -> Result<Self, CalibrationError> {
        check_classes(scores, wrong)?;
        Ok(Self::through(pooled(scores, wrong).iter().flat_map(Level::ends)))
    }

    /// Centred isotonic regression (Oron and Flournoy 2017, doi 10.1080/19466315.2017.1286256), which keeps the ranks of scores: each pool is
    /// one point, at the mean of its scores. As in LM-Polygraph the first pool stands at its lowest and the last at its highest score, and
    /// pools of probability 0 or 1 keep both ends.
    ///
    /// # Errors
    /// As [`Curve::isotonic`].
    pub fn centred_isotonic(scores: &[f64], wrong: &[bool]) -> Result<Self, CalibrationError> {
        check_classes(scores, wrong)?;
        let levels = pooled(scores, wrong);
        let last = levels.len() - 1;
        let points = levels.iter().enumerate().flat_map(|(index, level)| match index {
            _ if level.is_certain() => level.ends().to_vec(),
            0 => vec![(level.low, level.share())],
            index if index == last => vec![(level.high, level.share())],
            _ => vec![(level.centre(), level.share())],
        });
        Ok(Self::through(points))
    }

    /// Drops points that repeat a score.
    fn through(points: impl Iterator<Item = (f64, f64)>) -> Self {
        let mut points: Vec<(f64, f64)> = points.collect();
        points.dedup_by(|next, before| next.0 <= before.0);
        Self { points }
    }

    /// Probability that a response of this score is wrong.
    pub fn probability(&self, score: f64) -> f64 {
        let above = self.points.partition_point(|point| point.0 < score);
        match (above.checked_sub(1).and_then(|below| self.points.get(below)), self.points.get(above)) {
            // Halved, so that no difference overflows.
            (Some(&(x0, y0)), Some(&(x1, y1))) => {
                let share = (score / 2.0 - x0 / 2.0) / (x1 / 2.0 - x0 / 2.0);
                (y0 + (y1 - y0) * share).clamp(y0, y1)
            }
            (Some(point), None) | (None, Some(point)) => point.1,
            (None, None) => 0.5,
        }
    }

    /// The points (score, probability).
    pub fn points(&self) -> &[(f64, f64)] {
        &self.points
    }

    pub(super) fn fault(&self) -> Option<&'static str> {
        let rising = self.points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let probabilities = self.points.iter().all(|point| (0.0..=1.0).contains(&point.1));
        (self.points.is_empty() || !rising || !probabilities).then_some("the points of its curve do not rise within 0 to 1")
    }
}

impl Level {
    fn of(score: f64, wrong: bool) -> Self {
        Self { low: score, high: score, sum: score, items: 1, wrong: usize::from(wrong) }
    }

    fn with(self, next: Self) -> Self {
        Self { high: next.high, sum: self.sum + next.sum, items: self.items + next.items, wrong: self.wrong + next.wrong, ..self }
    }

    fn share(&self) -> f64 {
        self.wrong as f64 / self.items as f64
    }

    /// Whether its share is less than that of the next; compared in whole numbers.
    fn is_below(&self, next: &Self) -> bool {
        self.wrong * next.items < next.wrong * self.items
    }

    fn is_certain(&self) -> bool {
        self.wrong == 0 || self.wrong == self.items
    }

    fn centre(&self) -> f64 {
        (self.sum / self.items as f64).clamp(self.low, self.high)
    }

    fn ends(&self) -> [(f64, f64); 2] {
        [(self.low, self.share()), (self.high, self.share())]
    }
}

/// Pools of strictly rising share.
fn pooled(scores: &[f64], wrong: &[bool]) -> Vec<Level> {
    let mut items: Vec<Level> = scores.iter().zip(wrong).map(|(&score, &wrong)| Level::of(score + 0.0, wrong)).collect();
    items.sort_by(|a, b| a.low.total_cmp(&b.low));
    let equal = |tied: &[Level]| tied[1..].iter().fold(tied[0], |all, &next| all.with(next));
    let mut pools: Vec<Level> = Vec::new();
    for mut level in items.chunk_by(|a, b| a.low == b.low).map(equal) {
        while let Some(before) = pools.pop_if(|before| !before.is_below(&level)) {
            level = before.with(level);
        }
        pools.push(level);
    }
    pools
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_is_pooled() {
        let (scores, wrong) = ([1.0, 2.0, 3.0, 4.0, 5.0], [false, true, false, false, true]);
        let third = 1.0 / 3.0;
        let steps = Curve::isotonic(&scores, &wrong).expect("two classes");
        assert_eq!(steps.points(), [(1.0, 0.0), (2.0, third), (4.0, third), (5.0, 1.0)]);
        let centred = Curve::centred_isotonic(&scores, &wrong).expect("two classes");
        assert_eq!(centred.points(), [(1.0, 0.0), (3.0, third), (5.0, 1.0)]);
        assert_eq!([0.0, 2.0, 3.5, 9.0].map(|score| steps.probability(score)), [0.0, third, third, 1.0]);
        assert!((steps.probability(4.5) - 2.0 * third).abs() < 1e-15);
    }

    #[test]
    fn a_score_that_says_the_contrary_gives_the_base_rate() {
        for fit in [Curve::isotonic, Curve::centred_isotonic] {
            let curve = fit(&[1.0, 2.0, 3.0, 4.0], &[true, true, false, false]).expect("two classes");
            assert_eq!([0.0, 2.5, 9.0].map(|score| curve.probability(score)), [0.5; 3]);
        }
    }

    #[test]
    fn a_curve_that_falls_is_at_fault() {
        let curve = |points: &[(f64, f64)]| Curve { points: points.to_vec() };
        assert!(
            [&[(0.0, 0.5), (1.0, 0.4)][..], &[(0.0, 0.1), (0.0, 0.4)], &[(0.0, 1.1)], &[]]
                .iter()
                .all(|points| curve(points).fault().is_some())
        );
        assert_eq!(curve(&[(0.0, 0.1), (1.0, 0.1)]).fault(), None);
    }
}
