//! Correlation of two lists of numbers: scores with graded judgements.

use super::{MetricError, check_finite};

/// Pearson's correlation coefficient.
///
/// # Errors
/// Unequal lengths, fewer than two values, a value that is not finite, or a list without variance.
pub fn pearson(a: &[f64], b: &[f64]) -> Result<f64, MetricError> {
    if a.len() != b.len() {
        return Err(MetricError::Lengths { scores: a.len(), labels: b.len() });
    }
    check_finite(a)?;
    check_finite(b)?;
    let (a, b) = (centred(a), centred(b));
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let scale = (product(&a, &a) * product(&b, &b)).sqrt();
    if scale > 0.0 { Ok(product(&a, &b) / scale) } else { Err(MetricError::Constant) }
}

/// Spearman's rank correlation: Pearson's of the ranks, tied values sharing the mean of theirs.
///
/// # Errors
/// As [`pearson`].
pub fn spearman(a: &[f64], b: &[f64]) -> Result<f64, MetricError> {
    check_finite(a)?;
    check_finite(b)?;
    pearson(&ranks(a), &ranks(b))
}

fn centred(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| value - mean).collect()
}

/// Rank of every value, from 0; ties share the mean.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let (mut ranks, mut below) = (vec![0.0; values.len()], 0);
    for tied in order.chunk_by(|&i, &j| values[i] == values[j]) {
        let shared = below as f64 + (tied.len() - 1) as f64 / 2.0;
        tied.iter().for_each(|&i| ranks[i] = shared);
        below += tied.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_curves_and_ties() {
        assert!((pearson(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]).expect("varied") - 1.0).abs() < 1e-15);
        assert!((spearman(&[1.0, 2.0, 3.0], &[1.0, 4.0, 9.0]).expect("varied") - 1.0).abs() < 1e-15);
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [2.5, 0.0, 2.5, 1.0]);
    }

    #[test]
    fn what_has_no_correlation_is_named() {
        assert_eq!(pearson(&[1.0, 1.0], &[1.0, 2.0]), Err(MetricError::Constant));
        assert_eq!(pearson(&[], &[]), Err(MetricError::Constant));
        assert_eq!(pearson(&[1.0], &[]), Err(MetricError::Lengths { scores: 1, labels: 0 }));
        assert!(matches!(spearman(&[1.0, f64::NAN], &[1.0, 2.0]), Err(MetricError::NotFinite { index: 1, .. })));
    }
}
