//! The paired t-test (Student 1908): whether the mean of differences is zero.

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::metrics::MetricError;

/// Two-sided p-value of no difference between the means of two lists of the same items; 1 where all differences are 0, and 0 where all are
/// one other value.
///
/// # Errors
/// Lists of unequal lengths or with fewer than two items, and values that are not finite.
pub fn t_test(first: &[f64], second: &[f64]) -> Result<f64, MetricError> {
    if first.len() != second.len() {
        return Err(MetricError::Lengths { scores: first.len(), labels: second.len() });
    }
    if first.len() < 2 {
        return Err(MetricError::TooFew { needed: 2, found: first.len() });
    }
    let differences: Vec<f64> = first.iter().zip(second).map(|(one, other)| one - other).collect();
    if let Some(index) = differences.iter().position(|difference| !difference.is_finite()) {
        return Err(MetricError::NotFinite { index, value: differences[index] });
    }
    Ok(p_value(&differences))
}

fn p_value(differences: &[f64]) -> f64 {
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    let variance = differences.iter().map(|difference| (difference - mean).powi(2)).sum::<f64>() / (n - 1.0);
    if variance == 0.0 {
        return f64::from(u8::from(mean == 0.0));
    }
    let t = mean / (variance / n).sqrt();
    StudentsT::new(0.0, 1.0, n - 1.0).map_or(1.0, |student| (2.0 * student.sf(t.abs())).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_without_spread() {
        assert_eq!(t_test(&[1.0, 2.0], &[1.0, 2.0]), Ok(1.0));
        assert_eq!(t_test(&[1.0, 2.0], &[0.0, 1.0]), Ok(0.0));
        assert!(matches!(t_test(&[1.0], &[1.0]), Err(MetricError::TooFew { .. })));
        assert!(matches!(t_test(&[1.0, f64::NAN], &[1.0, 2.0]), Err(MetricError::NotFinite { .. })));
    }
}
