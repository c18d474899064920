//! How sure an AUROC is, in closed form: the variance of DeLong, DeLong and Clarke-Pearson (1988, Biometrics 44:837), and their test of two
//! scores on the same responses. The placements are counted in sorted lists, O(n log n) as Sun and Xu (2014) do, not over all pairs.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::{Interval, MetricError, check_classes, check_confidence};

/// For every response, the share of the other class on its proper side, ties one half; each list has the AUROC as its mean.
struct Placements {
    /// Of each wrong response: the share of right ones below it.
    of_wrong: Vec<f64>,
    /// Of each right response: the share of wrong ones above it.
    of_right: Vec<f64>,
}

/// Two scores on the same responses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AurocDifference {
    /// AUROC of the first score less that of the second.
    pub difference: f64,
    /// Standard error of the difference.
    pub std_error: f64,
    /// Two-sided, of no difference.
    pub p_value: f64,
}

/// Variance of the AUROC over draws of responses.
///
/// # Errors
/// As [`auroc`](super::auroc), or fewer than two responses of a class.
pub fn auroc_variance(scores: &[f64], wrong: &[bool]) -> Result<f64, MetricError> {
    Ok(placements(scores, wrong)?.variance())
}

/// Normal interval of the AUROC, cut to 0 and 1. A score without fault has no variance and an interval of no width: the bootstrap has none
/// either.
///
/// # Errors
/// As [`auroc_variance`], or a confidence outside 0 to 1.
pub fn delong_interval(scores: &[f64], wrong: &[bool], confidence: f64) -> Result<Interval, MetricError> {
    check_confidence(confidence)?;
    let placements = placements(scores, wrong)?;
    let estimate = mean(&placements.of_wrong);
    let half_width = Normal::standard().inverse_cdf((1.0 + confidence) / 2.0) * placements.variance().sqrt();
    Ok(Interval { estimate, low: (estimate - half_width).max(0.0), high: (estimate + half_width).min(1.0) })
}

/// Tests that two scores of the same responses have one AUROC. Scores whose difference has no variance differ with p-value 0, or, being of
/// one AUROC, with 1.
///
/// # Errors
/// As [`auroc_variance`] for either list.
pub fn delong_test(ours: &[f64], theirs: &[f64], wrong: &[bool]) -> Result<AurocDifference, MetricError> {
    let (ours, theirs) = (placements(ours, wrong)?, placements(theirs, wrong)?);
    let less = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f64>>();
    let both = Placements { of_wrong: less(&ours.of_wrong, &theirs.of_wrong), of_right: less(&ours.of_right, &theirs.of_right) };
    let (difference, std_error) = (mean(&both.of_wrong), both.variance().sqrt());
    let p_value = match (difference.abs() < 1e-15, std_error > 0.0) {
        (true, _) => 1.0,
        (false, false) => 0.0,
        (false, true) => 2.0 * Normal::standard().sf(difference.abs() / std_error),
    };
    Ok(AurocDifference { difference, std_error, p_value })
}

impl Placements {
    /// Of their mean over draws of both classes.
    fn variance(&self) -> f64 {
        sample_variance(&self.of_wrong) / self.of_wrong.len() as f64 + sample_variance(&self.of_right) / self.of_right.len() as f64
    }
}

fn placements(scores: &[f64], wrong: &[bool]) -> Result<Placements, MetricError> {
    let n_wrong = check_classes(scores, wrong)?;
    let found = n_wrong.min(wrong.len() - n_wrong);
    if found < 2 {
        return Err(MetricError::TooFew { needed: 2, found });
    }
    let (of_wrong, of_right) = (of_class(scores, wrong, true), of_class(scores, wrong, false));
    let (wrong_sorted, right_sorted) = (sorted(&of_wrong), sorted(&of_right));
    Ok(Placements {
        of_wrong: of_wrong.iter().map(|&score| share_below(&right_sorted, score)).collect(),
        of_right: of_right.iter().map(|&score| 1.0 - share_below(&wrong_sorted, score)).collect(),
    })
}

/// In the order of the items.
fn of_class(scores: &[f64], wrong: &[bool], class: bool) -> Vec<f64> {
    scores.iter().zip(wrong).filter(|&(_, &wrong)| wrong == class).map(|(&score, _)| score).collect()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Share of the sorted values below `score`, equal ones counting one half.
fn share_below(sorted: &[f64], score: f64) -> f64 {
    let (below, up_to) = (sorted.partition_point(|&value| value < score), sorted.partition_point(|&value| value <= score));
    (below + up_to) as f64 / 2.0 / sorted.len() as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// With n − 1 in the denominator.
fn sample_variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRONG: [bool; 4] = [false, false, true, true];

    #[test]
    fn two_and_two_by_hand() {
        // Placements of the wrong ones 1/2 and 1, of the right ones 1 and 1/2: variance 1/8 each, over 2, twice.
        assert_eq!(auroc_variance(&[0.1, 0.4, 0.35, 0.8], &WRONG), Ok(0.125));
        let interval = delong_interval(&[0.1, 0.4, 0.35, 0.8], &WRONG, 0.5).expect("two of each class");
        assert!((interval.estimate - 0.75).abs() < 1e-15 && (interval.low - (0.75 - 0.674_489_750_2 * 0.125f64.sqrt())).abs() < 1e-9);
    }

    #[test]
    fn a_score_does_not_differ_from_itself_and_surely_from_its_opposite() {
        let scores = [1.0, 2.0, 3.0, 4.0];
        let same = delong_test(&scores, &scores, &WRONG).expect("two of each class");
        assert_eq!(same, AurocDifference { difference: 0.0, std_error: 0.0, p_value: 1.0 });
        let opposite = delong_test(&scores, &scores.map(|score: f64| -score), &WRONG).expect("two of each class");
        assert_eq!((opposite.difference, opposite.p_value), (1.0, 0.0));
    }

    #[test]
    fn one_of_a_class_has_no_variance() {
        assert_eq!(auroc_variance(&[1.0, 2.0, 3.0], &[true, false, false]), Err(MetricError::TooFew { needed: 2, found: 1 }));
        assert!(matches!(auroc_variance(&[1.0, 2.0], &[true, true]), Err(MetricError::SingleClass { .. })));
    }
}
