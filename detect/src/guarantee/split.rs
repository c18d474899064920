//! Split conformal prediction: a quantile that makes up for the finite number of calibration values.

use super::check_alpha;
use crate::metrics::{MetricError, check_finite};

/// The ⌈(n + 1)(1 − α)⌉-th smallest value (Papadopoulos et al. 2002; Vovk et al. 2005): a further value, exchangeable with these, is at most
/// that with probability at least 1 − α, and at most 1 − α + 1/(n + 1) where no values tie. `None` where n is too small for that: then no
/// finite threshold will do. Of the scores of right responses it is the threshold above which at most a share α of right ones is withheld.
///
/// # Errors
/// Values that are not finite, α outside 0 to 1.
pub fn conformal_quantile(values: &[f64], alpha: f64) -> Result<Option<f64>, MetricError> {
    check_alpha(alpha)?;
    check_finite(values)?;
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Ok(sorted.get(rank(values.len(), alpha) - 1).copied())
}

/// ⌈(n + 1)(1 − α)⌉, at least 1. Written as n + 1 less ⌊(n + 1)α⌋, with room for the rounding of α, so that α = 0.1 of 10 values is 1.
fn rank(n: usize, alpha: f64) -> usize {
    let spared = ((n + 1) as f64 * alpha * (1.0 + 1e-12)).floor() as usize;
    (n + 1 - spared.min(n)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rank_by_hand() {
        // (n, α) → ⌈(n + 1)(1 − α)⌉: 9 × 0.9 = 8.1 → 9 of 8, none; 10 × 0.9 = 9 of 9; 20 × 0.9 = 18 of 19; 101 × 0.8 = 80.8 → 81.
        assert_eq!([(8, 0.1), (9, 0.1), (19, 0.1), (100, 0.2)].map(|(n, alpha)| rank(n, alpha)), [9, 9, 18, 81]);
        let values: Vec<f64> = (1..=19).rev().map(f64::from).collect();
        assert_eq!(conformal_quantile(&values, 0.1), Ok(Some(18.0)));
        assert_eq!((conformal_quantile(&values[..8], 0.1), conformal_quantile(&[], 0.5)), (Ok(None), Ok(None)));
    }

    #[test]
    fn what_is_no_share_is_named() {
        assert!(matches!(conformal_quantile(&[1.0], 0.0), Err(MetricError::Setting { name: "alpha", .. })));
        assert!(matches!(conformal_quantile(&[f64::NAN], 0.5), Err(MetricError::NotFinite { index: 0, .. })));
    }
}
