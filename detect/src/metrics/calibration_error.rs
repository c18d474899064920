//! Whether a probability of being wrong means what it says.

use serde::{Deserialize, Serialize};

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
    let bins = reliability_bins(probabilities, wrong, bins, binning)?;
    Ok(bins.iter().map(|bin| bin.items as f64 * bin.gap()).sum::<f64>() / wrong.len() as f64)
}

/// Maximum calibration error: the largest |share wrong − mean probability| of a bin (Naeini et al. 2015).
///
/// # Errors
/// As [`ece_with`].
pub fn mce(probabilities: &[f64], wrong: &[bool], bins: usize, binning: Binning) -> Result<f64, MetricError> {
    Ok(reliability_bins(probabilities, wrong, bins, binning)?.iter().map(Bin::gap).fold(0.0, f64::max))
}

/// A point of the reliability diagram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// How many responses.
    pub items: usize,
    /// Mean probability of being wrong they were given.
    pub mean_probability: f64,
    /// Share of them that is wrong.
    pub share_wrong: f64,
}

impl Bin {
    fn gap(&self) -> f64 {
        (self.share_wrong - self.mean_probability).abs()
    }
}

/// The points of the reliability diagram, probabilities rising; empty bins have none. Where a bin of equal mass ends amid tied probabilities,
/// each of the tied counts as wrong by the share of wrong ones among them, so that the order of the items does not matter.
///
/// # Errors
/// As [`ece_with`].
pub fn reliability_bins(probabilities: &[f64], wrong: &[bool], bins: usize, binning: Binning) -> Result<Vec<Bin>, MetricError> {
    check_probabilities(probabilities, wrong)?;
    if bins == 0 {
        return Err(MetricError::Setting { name: "bins", value: 0.0, expected: "at least 1" });
    }
    let (ranked, n) = (ranked(probabilities, wrong), wrong.len());
    let bin_of = |rank: usize, probability: f64| match binning {
        Binning::EqualWidth => ((probability * bins as f64) as usize).min(bins - 1),
        Binning::EqualMass => rank * bins / n,
    };
    let placed: Vec<(usize, (f64, f64))> = ranked.into_iter().enumerate().map(|(rank, item)| (bin_of(rank, item.0), item)).collect();
    Ok(placed.chunk_by(|a, b| a.0 == b.0).map(bin).collect())
}

/// (probability, outcome) in order of probability; the outcome is the share of wrong ones among equal probabilities.
fn ranked(probabilities: &[f64], wrong: &[bool]) -> Vec<(f64, f64)> {
    let mut items: Vec<(f64, f64)> = probabilities.iter().zip(wrong).map(|(&p, &wrong)| (p, f64::from(u8::from(wrong)))).collect();
    items.sort_by(|a, b| a.0.total_cmp(&b.0));
    for tied in items.chunk_by_mut(|a, b| a.0 == b.0) {
        let share = tied.iter().map(|item| item.1).sum::<f64>() / tied.len() as f64;
        tied.iter_mut().for_each(|item| item.1 = share);
    }
    items
}

fn bin(placed: &[(usize, (f64, f64))]) -> Bin {
    let n = placed.len() as f64;
    let sum = placed.iter().fold((0.0, 0.0), |sum, (_, item)| (sum.0 + item.0, sum.1 + item.1));
    Bin { items: placed.len(), mean_probability: sum.0 / n, share_wrong: sum.1 / n }
}

/// What the Brier score is made of: reliability − resolution + uncertainty + within bins.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BrierParts {
    /// Mean squared distance of a bin's mean probability from its share wrong; 0 is best.
    pub reliability: f64,
    /// Mean squared distance of a bin's share wrong from the base rate; the higher the better.
    pub resolution: f64,
    /// Base rate × (1 − base rate): what a constant forecast of the base rate scores.
    pub uncertainty: f64,
    /// What the bins hide, variance less twice the covariance of probability and outcome within them; 0 where each bin is of one probability.
    pub within_bins: f64,
}

/// Decomposition of the Brier score (Murphy 1973), with the term for bins of unequal probabilities (Stephenson et al. 2008).
///
/// # Errors
/// As [`ece_with`].
pub fn brier_parts(probabilities: &[f64], wrong: &[bool], bins: usize, binning: Binning) -> Result<BrierParts, MetricError> {
    let bins = reliability_bins(probabilities, wrong, bins, binning)?;
    let n = wrong.len() as f64;
    let base_rate = super::count(wrong) as f64 / n;
    let mean = |of: &dyn Fn(&Bin) -> f64| bins.iter().map(|bin| bin.items as f64 * of(bin)).sum::<f64>() / n;
    let reliability = mean(&|bin| bin.gap().powi(2));
    let resolution = mean(&|bin| (bin.share_wrong - base_rate).powi(2));
    let uncertainty = base_rate * (1.0 - base_rate);
    let within_bins = brier(probabilities, wrong)? - (reliability - resolution + uncertainty);
    Ok(BrierParts { reliability, resolution, uncertainty, within_bins })
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
    fn the_order_of_tied_items_does_not_matter() {
        let of = |wrong: [bool; 4]| ece_with(&[0.5; 4], &wrong, 2, Binning::EqualMass);
        assert_eq!((of([true, true, false, false]), of([true, false, true, false])), (Ok(0.0), Ok(0.0)));
        let bins = reliability_bins(&[0.5; 4], &[true, false, false, false], 2, Binning::EqualMass);
        assert_eq!(bins, Ok(vec![Bin { items: 2, mean_probability: 0.5, share_wrong: 0.25 }; 2]));
        assert_eq!(mce(&[0.5; 4], &[true, false, false, false], 2, Binning::EqualMass), Ok(0.25));
    }

    #[test]
    fn the_brier_score_of_two_forecasts_in_closed_form() {
        // 0.25 comes true once in two, 1 always: reliability 1/32, resolution 1/16 of the base rate 3/4, uncertainty 3/16.
        let parts = brier_parts(&[0.25, 0.25, 1.0, 1.0], &[true, false, true, true], 2, Binning::EqualMass);
        assert_eq!(parts, Ok(BrierParts { reliability: 0.03125, resolution: 0.0625, uncertainty: 0.1875, within_bins: 0.0 }));
    }

    #[test]
    fn what_is_no_probability_is_named() {
        assert_eq!(ece(&[0.5, 1.5], &[true, false]), Err(MetricError::NotProbability { index: 1, value: 1.5 }));
        assert!(matches!(brier(&[f64::NAN], &[true]), Err(MetricError::NotFinite { index: 0, .. })));
    }
}
