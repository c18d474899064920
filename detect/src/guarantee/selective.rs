//! Selective guaranteed risk: a bound on the share of failures among what passes, with a confidence.
//!
//! Geifman and El-Yaniv (2017, arXiv 1705.08500) bound the risk of each threshold by the binomial tail of Clopper and Pearson and share the
//! error out among the thresholds tried. Here the thresholds are tested in a fixed order, from strict to lenient, each at the whole error, and
//! the first that fails ends the sequence (Angelopoulos et al. 2021, Learn then Test, arXiv 2110.01052, section 2.3.1): the promise holds for all
//! that passed together. For that, thresholds and order must not depend on the responses tested, so they come from another part of the data.

use super::{Certified, Control, Guarantee, check_alpha, passed};
use crate::metrics::{MetricError, binomial_upper, check, check_confidence};

/// Thresholds tried.
const GRID: usize = 50;
/// The first threshold should let enough through to bear this many failures.
const SPARE_FAILURES: u64 = 2;

/// Every set {value ≤ threshold}, thresholds rising, whose share of failures is at most α, all together with `confidence` over draws of the
/// responses; the last is the largest. Empty where not even the first can be shown to be so.
///
/// `thresholds` must be chosen without looking at these responses: see [`candidates`].
///
/// # Errors
/// Empty, unequal or non-finite lists, α or confidence outside 0 to 1.
pub fn selective_risk(
    values: &[f64],
    failed: &[bool],
    thresholds: &[f64],
    alpha: f64,
    confidence: f64,
) -> Result<Vec<Certified>, MetricError> {
    check_alpha(alpha)?;
    check_confidence(confidence)?;
    check(values, failed)?;
    let mut certified = Vec::new();
    for &threshold in thresholds {
        let (kept, failures) = passed(values, failed, threshold);
        let bound = if kept == 0 { 1.0 } else { binomial_upper(failures as u64, kept as u64, confidence)? };
        if bound > alpha {
            break;
        }
        let n = values.len();
        let guarantee =
            Guarantee { control: Control::SelectiveRisk, alpha, confidence: Some(confidence), n, kept, failed: failures, bound };
        certified.push(Certified { threshold, guarantee });
    }
    Ok(certified)
}

/// Thresholds to test on `n` responses, rising: quantiles of the values of *other* responses, from the first that is expected to let so many
/// through that two failures among them would still pass the test. Starting lower, one unlucky failure would end the sequence; starting
/// higher, a small set could not be found.
///
/// # Errors
/// Values that are not finite, α or confidence outside 0 to 1.
pub fn candidates(others: &[f64], n: usize, alpha: f64, confidence: f64) -> Result<Vec<f64>, MetricError> {
    check_alpha(alpha)?;
    check_confidence(confidence)?;
    let mut sorted = others.to_vec();
    sorted.sort_by(f64::total_cmp);
    let first = (fewest(alpha, confidence)? as f64 / n.max(1) as f64).min(1.0);
    let share = |step: usize| first + (1.0 - first) * step as f64 / GRID as f64;
    let quantile = |step: usize| sorted.get(((share(step) * sorted.len() as f64).ceil() as usize).saturating_sub(1)).copied();
    let mut thresholds: Vec<f64> = (0..=GRID).filter_map(quantile).collect();
    thresholds.dedup();
    Ok(thresholds)
}

/// The smallest number of responses that can bear [`SPARE_FAILURES`].
fn fewest(alpha: f64, confidence: f64) -> Result<u64, MetricError> {
    let bears = |kept: u64| Ok::<bool, MetricError>(binomial_upper(SPARE_FAILURES, kept, confidence)? <= alpha);
    let mut high = SPARE_FAILURES + 1;
    while !bears(high)? && high < 1 << 40 {
        high *= 2;
    }
    let mut low = high / 2;
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if bears(middle)? { high = middle } else { low = middle }
    }
    Ok(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_failure_the_bound_is_a_power() {
        // 1 − 0.1^(1/k) ≤ 0.1 from k = 22 on.
        let values: Vec<f64> = (0..30).map(f64::from).collect();
        let found = selective_risk(&values, &[false; 30], &[20.0, 21.0], 0.1, 0.9).expect("valid");
        assert!(found.is_empty(), "the first fails, so the second is not tried");
        let found = selective_risk(&values, &[false; 30], &[21.0, 29.0], 0.1, 0.9).expect("valid");
        assert_eq!(found.iter().map(|set| set.guarantee.kept).collect::<Vec<_>>(), [22, 30]);
        assert!((found[0].guarantee.bound - (1.0 - 0.1f64.powf(1.0 / 22.0))).abs() < 1e-9);
    }

    #[test]
    fn two_failures_in_52_can_be_borne_and_not_in_51() {
        assert_eq!(fewest(0.1, 0.9), Ok(52));
    }

    #[test]
    fn candidates_begin_where_a_test_has_a_chance() {
        let others: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let thresholds = candidates(&others, 104, 0.1, 0.9).expect("valid");
        assert_eq!((thresholds[0], thresholds[thresholds.len() - 1]), (50.0, 100.0));
        assert!(thresholds.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!((candidates(&others, 10, 0.1, 0.9), candidates(&[], 10, 0.1, 0.9)), (Ok(vec![100.0]), Ok(vec![])));
    }

    #[test]
    fn what_has_no_bound_is_named() {
        assert!(matches!(selective_risk(&[1.0], &[true], &[1.0], 1.0, 0.9), Err(MetricError::Setting { name: "alpha", .. })));
        assert!(matches!(selective_risk(&[1.0], &[true], &[1.0], 0.1, 0.0), Err(MetricError::Setting { name: "confidence", .. })));
        assert_eq!(selective_risk(&[], &[], &[1.0], 0.1, 0.9), Err(MetricError::Empty));
    }
}
