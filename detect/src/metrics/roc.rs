//! Telling wrong from right by a threshold: the ROC curve and its area, average precision, and the test that goes with them.

use statrs::distribution::{ContinuousCDF, Normal};

use super::ranking::{Block, ascending, classes};
use super::{MetricError, check};

/// Area under the ROC curve: the probability that a wrong response scores above a right one, a tie counting one half.
///
/// # Errors
/// Empty, unequal or non-finite lists, or only one class.
pub fn auroc(scores: &[f64], wrong: &[bool]) -> Result<f64, MetricError> {
    check(scores, wrong)?;
    auroc_of(&ascending(scores, wrong))
}

/// [`auroc`] of ranked items.
pub(crate) fn auroc_of(blocks: &[Block]) -> Result<f64, MetricError> {
    let (right, wrong) = classes(blocks)?;
    Ok(won_pairs(blocks) / (right as f64 * wrong as f64))
}

/// Pairs of a wrong and a right response in which the wrong one scores higher, ties one half: the Mann-Whitney U statistic.
fn won_pairs(blocks: &[Block]) -> f64 {
    let mut right_below = 0;
    let mut won = 0.0;
    for block in blocks {
        won += block.wrong as f64 * (right_below as f64 + block.right() as f64 / 2.0);
        right_below += block.right();
    }
    won
}

/// Two-sided p-value of the Mann-Whitney U test that wrong and right responses score alike (AUROC = 1/2): normal approximation with the
/// variance corrected for ties (Lehmann 1975, section 1.4) and continuity correction. With all scores equal it is 1.
///
/// # Errors
/// As [`auroc`].
pub fn mann_whitney(scores: &[f64], wrong: &[bool]) -> Result<f64, MetricError> {
    check(scores, wrong)?;
    let blocks = ascending(scores, wrong);
    let (right, wrong) = classes(&blocks)?;
    let (n, pairs) = ((right + wrong) as f64, right as f64 * wrong as f64);
    let ties: f64 = blocks.iter().map(|block| (block.items as f64).powi(3) - block.items as f64).sum();
    let variance = pairs / 12.0 * ((n + 1.0) - ties / (n * (n - 1.0)));
    let excess = ((won_pairs(&blocks) - pairs / 2.0).abs() - 0.5).max(0.0);
    let tail = if variance > 0.0 { Normal::standard().sf(excess / variance.sqrt()) } else { 0.5 };
    Ok(2.0 * tail)
}

/// Average precision Σ (R_k − R_{k−1}) P_k over the distinct thresholds, most suspect first, as scikit-learn computes it: no interpolation,
/// unlike a trapezoid under the precision-recall curve. To be read beside [`base_rate`](super::base_rate).
///
/// # Errors
/// As [`auroc`].
pub fn average_precision(scores: &[f64], wrong: &[bool]) -> Result<f64, MetricError> {
    check(scores, wrong)?;
    average_precision_of(&ascending(scores, wrong))
}

/// [`average_precision`] of ranked items.
pub(crate) fn average_precision_of(blocks: &[Block]) -> Result<f64, MetricError> {
    let (_, wrong) = classes(blocks)?;
    let (mut items, mut found, mut sum) = (0, 0, 0.0);
    for block in blocks.iter().rev() {
        items += block.items;
        found += block.wrong;
        sum += block.wrong as f64 * found as f64 / items as f64;
    }
    Ok(sum / wrong as f64)
}

/// Points (false positive rate, true positive rate) of the ROC curve, one per distinct score, from (0, 0) to (1, 1).
///
/// # Errors
/// As [`auroc`].
pub fn roc_curve(scores: &[f64], wrong: &[bool]) -> Result<Vec<(f64, f64)>, MetricError> {
    check(scores, wrong)?;
    let blocks = ascending(scores, wrong);
    let (right, wrong) = classes(&blocks)?;
    let (mut false_alarms, mut found) = (0, 0);
    let points = blocks.iter().rev().map(|block| {
        false_alarms += block.right();
        found += block.wrong;
        (false_alarms as f64 / right as f64, found as f64 / wrong as f64)
    });
    Ok(std::iter::once((0.0, 0.0)).chain(points).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORES: [f64; 4] = [0.1, 0.4, 0.35, 0.8];
    const WRONG: [bool; 4] = [false, false, true, true];

    #[test]
    fn the_example_of_the_scikit_learn_manual() {
        assert_eq!(auroc(&SCORES, &WRONG), Ok(0.75));
        assert!((average_precision(&SCORES, &WRONG).expect("two classes") - 5.0 / 6.0).abs() < 1e-15);
        assert_eq!(roc_curve(&SCORES, &WRONG), Ok(vec![(0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)]));
    }

    #[test]
    fn a_score_that_knows_nothing() {
        let flat = [2.0, 2.0, 0.0 + 2.0, 2.0];
        assert_eq!((auroc(&flat, &WRONG), average_precision(&flat, &WRONG), mann_whitney(&flat, &WRONG)), (Ok(0.5), Ok(0.5), Ok(1.0)));
        assert_eq!(auroc(&[0.0, -0.0], &[true, false]), Ok(0.5));
    }

    #[test]
    fn what_cannot_be_measured_is_named() {
        assert_eq!(auroc(&[], &[]), Err(MetricError::Empty));
        assert_eq!(auroc(&[1.0], &[]), Err(MetricError::Lengths { scores: 1, labels: 0 }));
        assert_eq!(auroc(&[1.0, 2.0], &[true, true]), Err(MetricError::SingleClass { items: 2, class: "wrong" }));
        assert_eq!(roc_curve(&[1.0, 2.0], &[false, false]), Err(MetricError::SingleClass { items: 2, class: "right" }));
        assert!(matches!(average_precision(&[1.0, f64::NAN], &[true, false]), Err(MetricError::NotFinite { index: 1, .. })));
    }
}
