//! McNemar's test (1947): whether two answerers of the same items are right equally often. Items on which they agree say nothing; of the
//! others, each is as likely to be the right one where there is no difference.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, ChiSquared, ContinuousCDF, DiscreteCDF};

use super::MetricError;

/// Fewer items of disagreement than this are tested exactly, as is usual (Edwards 1948; statsmodels).
const FEW: u64 = 25;

/// Items on which two answerers disagree, and what that says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// Items that only the first got right.
    pub only_first: u64,
    /// Items that only the second got right.
    pub only_second: u64,
    /// Two-sided, of no difference.
    pub p_value: f64,
    /// Whether it is the exact binomial one; else that of chi-squared with one degree of freedom and Edwards's continuity correction.
    pub exact: bool,
}

/// McNemar's test of two answerers, each right or wrong on the same items in the same order.
///
/// # Errors
/// Unequal or empty lists.
pub fn mcnemar(first: &[bool], second: &[bool]) -> Result<McNemar, MetricError> {
    if first.len() != second.len() {
        return Err(MetricError::Lengths { scores: first.len(), labels: second.len() });
    }
    if first.is_empty() {
        return Err(MetricError::Empty);
    }
    let only = |one: &[bool], other: &[bool]| one.iter().zip(other).filter(|(one, other)| **one && !**other).count() as u64;
    of_counts(only(first, second), only(second, first))
}

fn of_counts(only_first: u64, only_second: u64) -> Result<McNemar, MetricError> {
    let exact = only_first + only_second < FEW;
    let p_value = if exact { binomial(only_first, only_second)? } else { chi_squared(only_first, only_second)? };
    Ok(McNemar { only_first, only_second, p_value, exact })
}

/// Twice the smaller tail of fair coins, at most 1.
fn binomial(one: u64, other: u64) -> Result<f64, MetricError> {
    let coins = Binomial::new(0.5, one + other).map_err(|_| MetricError::Empty)?;
    Ok((2.0 * coins.cdf(one.min(other))).min(1.0))
}

fn chi_squared(one: u64, other: u64) -> Result<f64, MetricError> {
    let statistic = (one.abs_diff(other) as f64 - 1.0).max(0.0).powi(2) / (one + other) as f64;
    Ok(ChiSquared::new(1.0).map_err(|_| MetricError::Empty)?.sf(statistic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_cases_by_hand() {
        // Of three items of disagreement the first has all: 2 / 2^3.
        let found = mcnemar(&[true, true, true, false, true], &[false, false, false, false, true]).expect("a test");
        assert_eq!((found.only_first, found.only_second, found.exact), (3, 0, true));
        assert!((found.p_value - 0.25).abs() < 1e-12, "{found:?}");
        assert_eq!(mcnemar(&[true, false], &[true, false]).expect("a test").p_value, 1.0);
        assert_eq!(mcnemar(&[], &[]), Err(MetricError::Empty));
        assert!(matches!(mcnemar(&[true], &[]), Err(MetricError::Lengths { .. })));
    }

    #[test]
    fn the_order_of_the_two_does_not_matter() {
        for (one, other) in [(3, 11), (40, 61), (30, 30)] {
            let (found, turned) = (of_counts(one, other).expect("a test"), of_counts(other, one).expect("a test"));
            assert_eq!((found.p_value, found.only_first), (turned.p_value, turned.only_second));
        }
    }
}
