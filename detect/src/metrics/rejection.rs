//! Holding back the most suspect responses: risk-coverage curves and the prediction-rejection ratio.

use super::ranking::{Block, ascending, classes};
use super::{MetricError, check, count};

/// Points (coverage, risk), coverage rising from 1/n to 1: the share of responses kept, least suspect first, and the share of wrong ones
/// among them. Within tied scores the risk is the expectation over all orders.
///
/// # Errors
/// Empty, unequal or non-finite lists.
pub fn risk_coverage_curve(scores: &[f64], wrong: &[bool]) -> Result<Vec<(f64, f64)>, MetricError> {
    check(scores, wrong)?;
    let n = wrong.len() as f64;
    Ok(risks(&ascending(scores, wrong)).into_iter().enumerate().map(|(index, risk)| ((index + 1) as f64 / n, risk)).collect())
}

/// Area under the risk-coverage curve: mean over k = 1..n of the share of wrong responses among the k least suspect (Geifman et al. 2019,
/// arXiv 1805.08206).
///
/// # Errors
/// As [`risk_coverage_curve`].
pub fn aurc(scores: &[f64], wrong: &[bool]) -> Result<f64, MetricError> {
    check(scores, wrong)?;
    Ok(mean(&risks(&ascending(scores, wrong))))
}

/// [`aurc`] above that of the oracle, which keeps all right responses first (E-AURC, same paper).
///
/// # Errors
/// As [`risk_coverage_curve`].
pub fn excess_aurc(scores: &[f64], wrong: &[bool]) -> Result<f64, MetricError> {
    Ok(aurc(scores, wrong)? - mean(&risks(&oracle(wrong.len() - count(wrong), count(wrong)))))
}

/// Area under the rejection-accuracy curve: mean over k = n..1 of the share of right responses among the k least suspect, 1 − [`aurc`]. (The
/// code of Farquhar et al. 2024 sums twenty quantiles of it times 0.0474, so that its best value is 0.947.)
///
/// # Errors
/// As [`risk_coverage_curve`].
pub fn aurac(scores: &[f64], wrong: &[bool]) -> Result<f64, MetricError> {
    Ok(1.0 - aurc(scores, wrong)?)
}

/// Area under the prediction-rejection curve, the A of [`prr`]: mean share of right responses among those kept, over rejecting 0 to
/// `n_rejected` − 1 of the most suspect (LM-Polygraph's `PredictionRejectionArea`, for quality 1 = right, 0 = wrong).
///
/// # Errors
/// As [`prr`].
pub fn rejection_area(scores: &[f64], wrong: &[bool], max_rejection: f64) -> Result<f64, MetricError> {
    check(scores, wrong)?;
    let rejected = n_rejected(wrong.len(), max_rejection)?;
    Ok(1.0 - mean(&risks(&ascending(scores, wrong))[wrong.len() - rejected..]))
}

/// Prediction-rejection ratio (Malinin and Gales 2021, arXiv 2002.07650; LM-Polygraph's `prr`): (A − A_random) / (A_oracle − A_random), where A
/// is the mean share of right responses among those kept, over rejecting 0 to `n_rejected` − 1 of the most suspect, `n_rejected` =
/// ⌊`max_rejection` × n⌋. 1 = as good as the oracle that rejects wrong responses first, 0 = as good as chance. Chance is exact here, the share
/// of right responses (LM-Polygraph averages 1,000 shuffles), and ties are averaged over (there: in order of the items).
///
/// # Errors
/// As [`auroc`](super::auroc), `max_rejection` outside 0 to 1, or so few items that none would be rejected.
pub fn prr(scores: &[f64], wrong: &[bool], max_rejection: f64) -> Result<f64, MetricError> {
    check(scores, wrong)?;
    prr_of(&ascending(scores, wrong), max_rejection)
}

/// [`prr`] of ranked items.
pub(crate) fn prr_of(blocks: &[Block], max_rejection: f64) -> Result<f64, MetricError> {
    let items = blocks.iter().map(|block| block.items).sum();
    let rejected = n_rejected(items, max_rejection)?;
    let (right, wrong) = classes(blocks)?;
    let n = right + wrong;
    let area = |blocks: &[Block]| 1.0 - mean(&risks(blocks)[n - rejected..]);
    let random = right as f64 / n as f64;
    Ok((area(blocks) - random) / (area(&oracle(right, wrong)) - random))
}

/// How many points of the curve count.
fn n_rejected(n: usize, max_rejection: f64) -> Result<usize, MetricError> {
    if !(max_rejection > 0.0 && max_rejection <= 1.0) {
        return Err(MetricError::Setting { name: "max_rejection", value: max_rejection, expected: "a number above 0 and at most 1" });
    }
    let rejected = (max_rejection * n as f64).floor() as usize;
    // Rejecting nothing is the first point, so that with one point all rankings are alike.
    if rejected < 2 { Err(MetricError::TooFew { needed: (2.0 / max_rejection).ceil() as usize, found: n }) } else { Ok(rejected) }
}

/// All right responses, then all wrong ones.
fn oracle(right: usize, wrong: usize) -> [Block; 2] {
    [Block { items: right, wrong: 0 }, Block { items: wrong, wrong }]
}

/// Expected share of wrong responses among the first k, for k = 1..n.
fn risks(blocks: &[Block]) -> Vec<f64> {
    let mut risks = Vec::new();
    let mut before = 0.0;
    for block in blocks {
        let rate = block.wrong as f64 / block.items.max(1) as f64;
        for place in 1..=block.items {
            risks.push((before + rate * place as f64) / (risks.len() + 1) as f64);
        }
        before += block.wrong as f64;
    }
    risks
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRONG: [bool; 4] = [false, true, false, true];

    #[test]
    fn risk_and_coverage_by_hand() {
        let curve = risk_coverage_curve(&[1.0, 2.0, 3.0, 4.0], &WRONG);
        assert_eq!(curve, Ok(vec![(0.25, 0.0), (0.5, 0.5), (0.75, 1.0 / 3.0), (1.0, 0.5)]));
        assert!((aurc(&[1.0, 2.0, 3.0, 4.0], &WRONG).expect("defined") - 1.0 / 3.0).abs() < 1e-15);
        // The oracle's risks are 0, 0, 1/3, 1/2.
        assert!((excess_aurc(&[1.0, 2.0, 3.0, 4.0], &WRONG).expect("defined") - 0.125).abs() < 1e-15);
    }

    #[test]
    fn oracle_chance_and_its_opposite() {
        for max_rejection in [0.5, 1.0] {
            assert_eq!(prr(&[0.0, 1.0, 0.0, 1.0], &WRONG, max_rejection), Ok(1.0));
            assert!(prr(&[7.0; 4], &WRONG, max_rejection).expect("defined").abs() < 1e-15);
            assert!(prr(&[1.0, 0.0, 1.0, 0.0], &WRONG, max_rejection).expect("defined") < 0.0);
        }
    }

    #[test]
    fn what_cannot_be_measured_is_named() {
        assert!(matches!(prr(&[1.0, 2.0], &[true, false], 0.0), Err(MetricError::Setting { name: "max_rejection", .. })));
        assert_eq!(prr(&[1.0, 2.0], &[true, false], 0.5), Err(MetricError::TooFew { needed: 4, found: 2 }));
        assert_eq!(prr(&[1.0, 2.0], &[true, true], 1.0), Err(MetricError::SingleClass { items: 2, class: "wrong" }));
    }
}
