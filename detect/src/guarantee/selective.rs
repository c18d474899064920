//! Selective guaranteed risk: a bound on the share of failures among what passes, with a confidence.
//!
//! Geifman and El-Yaniv (2017, arXiv 1705.08500) bound the risk of each threshold by the binomial tail of Clopper and Pearson and share the
//! error out among the thresholds tried. Here the thresholds are tested in a fixed order, from strict to lenient, each at the whole error, and
//! the first that fails ends the sequence (Angelopoulos et al. 2021, Learn then Test, arXiv 2110.01052, section 2.3.1): the promise holds for all
//! that passed together. For that, thresholds and order must not depend on the responses tested, so they come from another part of the data.

use statrs::distribution::{Binomial, DiscreteCDF};

use super::{Certified, Control, Guarantee, check_alpha, passed};
use crate::metrics::{MetricError, binomial_upper, check, check_confidence};

/// Thresholds tried.
const GRID: usize = 50;

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

/// Thresholds to test on `n` responses, rising: quantiles of the values of *other* responses, from the one whose test those lead to expect to
/// pass most surely. Starting lower, with few kept, one unlucky failure would end the sequence; starting higher, a small set could not be found.
///
/// # Errors
/// Empty, unequal or non-finite lists, α or confidence outside 0 to 1.
pub fn candidates(others: &[f64], failed: &[bool], n: usize, alpha: f64, confidence: f64) -> Result<Vec<f64>, MetricError> {
    check_alpha(alpha)?;
    check_confidence(confidence)?;
    check(others, failed)?;
    let mut thresholds = quantiles(others);
    let power = |&threshold: &f64| {
        let (kept, failures) = passed(others, failed, threshold);
        let kept_of_n = (kept as f64 / others.len() as f64 * n as f64).round() as u64;
        power(kept_of_n, (failures + 1) as f64 / (kept + 2) as f64, alpha, confidence)
    };
    let powers = thresholds.iter().map(power).collect::<Result<Vec<f64>, _>>()?;
    let start = powers.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(start, _)| start);
    Ok(thresholds.split_off(start))
}

/// Probability that `kept` responses of which a share `risk` fails pass the test of α.
fn power(kept: u64, risk: f64, alpha: f64, confidence: f64) -> Result<f64, MetricError> {
    let failures = |share: f64| {
        Binomial::new(share, kept).map_err(|_| MetricError::Setting { name: "risk", value: share, expected: "a number from 0 to 1" })
    };
    // The bound is at most α where so few failures or fewer have a probability of at most 1 − confidence at risk α.
    let (at_alpha, at_risk) = (failures(alpha)?, failures(risk)?);
    let allowed = (0..kept).take_while(|&failures| at_alpha.cdf(failures) <= 1.0 - confidence).last();
    Ok(allowed.map_or(0.0, |allowed| at_risk.cdf(allowed)))
}

/// At every [`GRID`]th part of the values, rising, each once.
fn quantiles(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = |step: usize| (step * sorted.len()).div_ceil(GRID).saturating_sub(1);
    let mut quantiles: Vec<f64> = (1..=GRID).filter_map(|step| sorted.get(place(step)).copied()).collect();
    quantiles.dedup();
    quantiles
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
    fn the_power_of_a_test_by_hand() {
        // Of 22 none may fail, of 38 one: 0.9^38 + 38 × 0.1 × 0.9^37 is below 0.1, and above it for 37.
        let power = |kept, risk| power(kept, risk, 0.1, 0.9).expect("valid");
        assert_eq!(power(21, 0.0), 0.0);
        assert!((power(22, 0.02) - 0.98f64.powi(22)).abs() < 1e-12 && (power(37, 0.02) - 0.98f64.powi(37)).abs() < 1e-12);
        assert!((power(38, 0.02) - (0.98f64.powi(38) + 38.0 * 0.02 * 0.98f64.powi(37))).abs() < 1e-12);
    }

    #[test]
    fn candidates_begin_where_the_test_has_most_power() {
        // Of the others none fails up to 50 and all do above; of 76, up to 50, 38 are kept, the fewest of which one may fail.
        let others: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let failed: Vec<bool> = others.iter().map(|&value| value > 50.0).collect();
        let thresholds = candidates(&others, &failed, 76, 0.1, 0.9).expect("valid");
        assert_eq!(thresholds, (25..=50).map(|half| f64::from(2 * half)).collect::<Vec<_>>());
        assert_eq!(candidates(&[1.0; 9], &[false; 9], 10, 0.1, 0.9), Ok(vec![1.0]));
        assert_eq!(candidates(&[], &[], 10, 0.1, 0.9), Err(MetricError::Empty));
    }

    #[test]
    fn what_has_no_bound_is_named() {
        assert!(matches!(selective_risk(&[1.0], &[true], &[1.0], 1.0, 0.9), Err(MetricError::Setting { name: "alpha", .. })));
        assert!(matches!(selective_risk(&[1.0], &[true], &[1.0], 0.1, 0.0), Err(MetricError::Setting { name: "confidence", .. })));
        assert_eq!(selective_risk(&[], &[], &[1.0], 0.1, 0.9), Err(MetricError::Empty));
    }
}
