//! Whether a probability of being wrong means what it says.

use super::{MetricError, check_probabilities};

/// Bins of [`ece`] (Guo et al. 2017).
pub const DEFAULT_BINS: usize = 15;

/// How probabilities are put into bins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binning {
    /// Bins of equal width: [0, 1/b), [1/b, 2/b), …, [1 − 1/b, 1].
    EqualWidth,
    /// Bins of equal numbers of items in order of probability, as equal as whole items allow.
    EqualMass,
}

/// Expected calibration error with [`DEFAULT_BINS`] bins of equal width.
///
/// # Errors
/// As [`ece_with`].
pub fn ece(probabilities: &[f64], wrong: &[bool]) -> Result<f64, MetricError> {
    ece_with(probabilities, wrong, DEFAULT_BINS, Binning::EqualWidth)
}

/// Expected calibration error Σ_b (n_b / n) |share wrong − mean probability| (Guo et al. 2017, arXiv 1706.04599).
///
/// # Errors
/// Empty or unequal lists, values outside 0 to 1, no bins.
pub fn ece_with(probabilities: &[f64], wrong: &[bool], bins: usize, binning: Binning) -> Result<f64, MetricError> {
    check_probabilities(probabilities, wrong)?;
    if bins == 0 {
        return Err(MetricError::Setting { name: "bins", value: 0.0, expected: "at least 1" });
    }
    let mut gaps = vec![0.0; bins];
    for (bin, (probability, &wrong)) in bins_of(probabilities, bins, binning).into_iter().zip(probabilities.iter().zip(wrong)) {
        gaps[bin] += f64::from(u8::from(wrong)) - probability;
    }
    Ok(gaps.iter().map(|gap| gap.abs()).sum::<f64>() / wrong.len() as f64)
}

fn bins_of(probabilities: &[f64], bins: usize, binning: Binning) -> Vec<usize> {
    match binning {
        Binning::EqualWidth => probabilities.iter().map(|p| ((p * bins as f64) as usize).min(bins - 1)).collect(),
        Binning::EqualMass => {
            let mut order: Vec<usize> = (0..probabilities.len()).collect();
            order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
            let mut found = vec![0; order.len()];
            order.iter().enumerate().for_each(|(rank, &item)| found[item] = rank * bins / order.len());
            found
        }
    }
}

/// Brier score: mean squared distance of the probability from what happened.
///
/// # Errors
/// Empty or unequal lists, values outside 0 to 1.
pub fn brier(probabilities: &[f64], wrong: &[bool]) -> Result<f64, MetricError> {
    check_probabilities(probabilities, wrong)?;
    let squared = |(probability, &wrong): (&f64, &bool)| (probability - f64::from(u8::from(wrong))).powi(2);
    Ok(probabilities.iter().zip(wrong).map(squared).sum::<f64>() / wrong.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let (probabilities, wrong) = ([0.1, 0.2, 0.8, 1.0], [false, true, true, true]);
        // Two bins: |1 - 0.3| and |2 - 1.8|, over 4.
        assert!((ece_with(&probabilities, &wrong, 2, Binning::EqualWidth).expect("valid") - 0.225).abs() < 1e-15);
        assert!((ece_with(&probabilities, &wrong, 2, Binning::EqualMass).expect("valid") - 0.225).abs() < 1e-15);
        assert!((brier(&probabilities, &wrong).expect("valid") - (0.01 + 0.64 + 0.04) / 4.0).abs() < 1e-15);
        assert_eq!(ece(&[0.0, 1.0], &[false, true]), Ok(0.0));
    }

    #[test]
    fn what_is_no_probability_is_named() {
        assert_eq!(ece(&[0.5, 1.5], &[true, false]), Err(MetricError::NotProbability { index: 1, value: 1.5 }));
        assert!(matches!(brier(&[f64::NAN], &[true]), Err(MetricError::NotFinite { index: 0, .. })));
    }
}
