//! Conformal risk control: a bound on the expected share of responses that pass and fail, among all.

use super::{Certified, Control, Guarantee, check_alpha, passed};
use crate::metrics::{MetricError, check};

/// The largest set {value ≤ threshold} for which the loss 1{passes and fails} has expectation at most α for a further response (Angelopoulos
/// et al. 2022, arXiv 2208.02814): the loss falls as the threshold falls and is at most 1, so the condition is (failures + 1) / (n + 1) ≤ α.
/// Among **all** responses, passed or not; it says nothing of the share among those that pass. `None` where even no failure is too many,
/// 1 / (n + 1) > α. The threshold is at most `limit`; a smaller set keeps the promise all the more.
///
/// # Errors
/// Empty, unequal or non-finite lists, α outside 0 to 1.
pub fn control_risk(values: &[f64], failed: &[bool], alpha: f64, limit: f64) -> Result<Option<Certified>, MetricError> {
    check_alpha(alpha)?;
    check(values, failed)?;
    let n = values.len();
    let Some(allowed) = (((n + 1) as f64 * alpha * (1.0 + 1e-12)).floor() as usize).checked_sub(1) else { return Ok(None) };
    let mut failing: Vec<f64> = values.iter().zip(failed).filter(|&(_, &failed)| failed).map(|(&value, _)| value).collect();
    failing.sort_by(f64::total_cmp);
    // Up to, but without, the first failure that is not allowed.
    let threshold = failing.get(allowed).map_or(limit, |value| value.next_down().min(limit));
    let (kept, failed) = passed(values, failed, threshold);
    let bound = (failed + 1) as f64 / (n + 1) as f64;
    Ok(Some(Certified { threshold, guarantee: Guarantee { control: Control::JointRisk, alpha, confidence: None, n, kept, failed, bound } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // 20 × 0.1 = 2: one failure is allowed, so values pass up to the second failing one, 7.
        let values: Vec<f64> = (1..=19).map(f64::from).collect();
        let failed: Vec<bool> = (1..=19).map(|i| i == 3 || i == 7 || i > 15).collect();
        let found = control_risk(&values, &failed, 0.1, f64::INFINITY).expect("valid").expect("n is large enough");
        assert!(found.threshold < 7.0 && found.threshold > 6.999);
        let Guarantee { n, kept, failed, bound, .. } = found.guarantee;
        assert_eq!((n, kept, failed, bound), (19, 6, 1, 0.1));
    }

    #[test]
    fn too_few_responses_allow_none_and_too_few_failures_all() {
        assert_eq!(control_risk(&[1.0; 8], &[false; 8], 0.1, 5.0), Ok(None));
        let all = control_risk(&[1.0; 19], &[false; 19], 0.1, 5.0).expect("valid").expect("n is large enough");
        assert_eq!((all.threshold, all.guarantee.kept), (5.0, 19));
    }

    #[test]
    fn tied_values_pass_together_or_not_at_all() {
        let failed: Vec<bool> = (0..19).map(|i| i < 2).collect();
        let found = control_risk(&[5.0; 19], &failed, 0.1, f64::INFINITY).expect("valid").expect("n is large enough");
        assert_eq!((found.threshold, found.guarantee.kept), (5f64.next_down(), 0));
    }
}
