//! Histogram binning: the share of wrong responses in bins of equal numbers of them. The one method that may find a score of the middle more
//! suspect than a high one, so it may change AUROC.

use serde::{Deserialize, Serialize};

use super::CalibrationError;
use crate::metrics::{MetricError, check_classes};

/// Bins unless told otherwise.
pub const DEFAULT_MASS_BINS: usize = 10;

/// Histogram binning (Zadrozny and Elkan 2001).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bins {
    /// Where one bin ends and the next begins, halfway between their scores; one fewer than there are bins.
    edges: Vec<f64>,
    /// Share of wrong responses in every bin.
    probabilities: Vec<f64>,
}

impl Bins {
    /// Parts the responses, in order of score, into bins of as equal numbers as whole items and ties allow: responses of one score share a bin.
    ///
    /// # Errors
    /// Empty, unequal or non-finite lists, only one class, no bins.
    pub fn fit(scores: &[f64], wrong: &[bool], bins: usize) -> Result<Self, CalibrationError> {
        check_classes(scores, wrong)?;
        if bins == 0 {
            return Err(MetricError::Setting { name: "bins", value: 0.0, expected: "at least 1" }.into());
        }
        let mut items: Vec<(f64, bool)> = scores.iter().map(|score| score + 0.0).zip(wrong.iter().copied()).collect();
        items.sort_by(|a, b| a.0.total_cmp(&b.0));
        let starts = starts(&items, bins.min(items.len()));
        let ends = starts.iter().skip(1).copied().chain([items.len()]);
        let share = |bin: &[(f64, bool)]| bin.iter().filter(|item| item.1).count() as f64 / bin.len() as f64;
        Ok(Self {
            edges: starts.iter().skip(1).map(|&start| between(items[start - 1].0, items[start].0)).collect(),
            probabilities: starts.iter().zip(ends).map(|(&start, end)| share(&items[start..end])).collect(),
        })
    }

    /// Probability that a response of this score is wrong.
    pub fn probability(&self, score: f64) -> f64 {
        self.probabilities.get(self.edges.partition_point(|&edge| edge < score)).copied().unwrap_or(0.5)
    }

    pub(super) fn fault(&self) -> Option<&'static str> {
        let rising = self.edges.windows(2).all(|pair| pair[0] <= pair[1]);
        let probabilities = self.probabilities.iter().all(|p| (0.0..=1.0).contains(p));
        let fits = self.probabilities.len() == self.edges.len() + 1;
        (!rising || !probabilities || !fits)
            .then_some("its bins are not one probability within 0 to 1 for each stretch between rising edges")
    }
}

/// Halfway, and in any case below `high`.
fn between(low: f64, high: f64) -> f64 {
    let middle = f64::midpoint(low, high);
    if middle < high { middle } else { low }
}

/// Where the bins start among the sorted items: at equal ranks, moved on past items of the score before.
fn starts(items: &[(f64, bool)], bins: usize) -> Vec<usize> {
    let past_ties = |start: usize| {
        let tied = |&place: &usize| place > 0 && place < items.len() && items[place].0 == items[place - 1].0;
        start + (start..).take_while(tied).count()
    };
    let mut starts: Vec<usize> = (0..bins).map(|bin| past_ties((bin * items.len()).div_ceil(bins))).collect();
    starts.retain(|&start| start < items.len());
    starts.dedup();
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_of_two() {
        let fitted = Bins::fit(&[4.0, 1.0, 2.0, 3.0], &[true, false, true, true], 2).expect("two classes");
        assert_eq!(fitted, Bins { edges: vec![2.5], probabilities: vec![0.5, 1.0] });
        assert_eq!([-9.0, 2.5, 2.6].map(|score| fitted.probability(score)), [0.5, 0.5, 1.0]);
    }

    #[test]
    fn ties_share_a_bin() {
        let fitted = Bins::fit(&[1.0, 1.0, 1.0, 2.0], &[false, true, false, true], 4).expect("two classes");
        assert_eq!(fitted, Bins { edges: vec![1.5], probabilities: vec![1.0 / 3.0, 1.0] });
        let flat = Bins::fit(&[0.0, -0.0], &[false, true], 4).expect("two classes");
        assert_eq!(flat, Bins { edges: vec![], probabilities: vec![0.5] });
    }

    #[test]
    fn parameters_that_do_not_fit_each_other_are_at_fault() {
        assert!(Bins { edges: vec![1.0], probabilities: vec![0.5] }.fault().is_some());
        assert!(Bins { edges: vec![], probabilities: vec![1.5] }.fault().is_some());
        assert_eq!(Bins { edges: vec![1.0], probabilities: vec![0.5, 0.2] }.fault(), None);
    }
}
