//! The area under the precision-recall curve by straight lines, as papers report it that call scikit-learn's `auc` on the curve.

use super::ranking::{ascending, classes};
use super::{MetricError, check};

/// Area under the precision-recall curve by the trapezoid rule, from (recall 0, precision 1) over the distinct thresholds, most suspect first:
/// `auc(recall, precision)` of scikit-learn's `precision_recall_curve`. Too kind to a score of few distinct values (Davis and Goadrich 2006); use
/// [`average_precision`](super::average_precision) where no published figure asks for this one.
///
/// # Errors
/// Empty, unequal or non-finite lists, or only one class.
pub fn auc_pr_trapezoid(scores: &[f64], wrong: &[bool]) -> Result<f64, MetricError> {
    check(scores, wrong)?;
    let blocks = ascending(scores, wrong);
    let (_, all) = classes(&blocks)?;
    let (mut items, mut found, mut last, mut area) = (0, 0, (0.0, 1.0), 0.0);
    for block in blocks.iter().rev() {
        items += block.items;
        found += block.wrong;
        let (recall, precision) = (found as f64 / all as f64, found as f64 / items as f64);
        area += (recall - last.0) * (precision + last.1) / 2.0;
        last = (recall, precision);
    }
    Ok(area)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_order_and_one_threshold() {
        assert_eq!(auc_pr_trapezoid(&[1.0, 2.0, 3.0], &[false, true, true]), Ok(1.0));
        // One threshold: the line from (0, 1) to (1, base rate).
        assert_eq!(auc_pr_trapezoid(&[1.0; 4], &[true, false, false, false]), Ok(0.625));
        assert!(matches!(auc_pr_trapezoid(&[1.0], &[true]), Err(MetricError::SingleClass { .. })));
    }
}
