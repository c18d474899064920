//! Calibration judged on records that the calibrator has not seen: two halves, each with the probabilities of a Platt fit to the other.

use super::BenchSettings;
use crate::calibration::Platt;
use crate::learn::folds::folds;
use crate::metrics::{self, Binning, Groups, Interval};

/// Bins of equal mass of the expected calibration error.
const BINS: usize = 10;

/// Probabilities of being wrong, and whether it came true.
#[derive(Default)]
struct Half {
    probabilities: Vec<f64>,
    wrong: Vec<bool>,
}

impl Half {
    fn ece(&self) -> Option<f64> {
        metrics::ece_with(&self.probabilities, &self.wrong, BINS, Binning::EqualMass).ok()
    }

    fn brier(&self) -> Option<f64> {
        metrics::brier(&self.probabilities, &self.wrong).ok()
    }
}

/// Both halves, one after the other.
pub(super) struct HeldOut {
    probabilities: Vec<f64>,
    wrong: Vec<bool>,
    /// How many of the items make up the first half.
    first: usize,
    groups: Groups,
}

impl HeldOut {
    /// Parts the records at random by whole groups, with the classes shared out evenly. `None` where a half cannot be fitted.
    pub(super) fn new(scores: &[f64], wrong: &[bool], groups: &Groups, seed: u64) -> Option<Self> {
        let half_of = folds(groups, wrong, 2, seed);
        let (ones, others) = (0..wrong.len()).partition::<Vec<usize>, _>(|&item| half_of[item] == 0);
        let half = |items: &[usize]| -> (Vec<f64>, Vec<bool>) { items.iter().map(|&item| (scores[item], wrong[item])).unzip() };
        let (one, other) = (half(&ones), half(&others));
        let (fitted_on_one, fitted_on_other) = (Platt::fit(&one.0, &one.1).ok()?, Platt::fit(&other.0, &other.1).ok()?);
        let of_one = one.0.iter().map(|&score| fitted_on_other.probability(score));
        let of_other = other.0.iter().map(|&score| fitted_on_one.probability(score));
        let (probabilities, first) = (of_one.chain(of_other).collect(), ones.len());
        Some(Self { probabilities, wrong: [one.1, other.1].concat(), first, groups: groups.within(&[ones, others].concat()) })
    }

    /// Expected calibration error and Brier score, each the mean of the two halves, with bootstrap intervals over the groups; the calibrators
    /// stay as they were fitted. Resampling biases the calibration error upwards, so its interval is centred on the estimate.
    pub(super) fn intervals(&self, settings: &BenchSettings) -> Option<(Interval, Interval)> {
        let statistics = |drawn: &[usize]| {
            let halves = self.halves(drawn);
            let mean = |metric: fn(&Half) -> Option<f64>| {
                let [one, other] = halves.each_ref().map(metric);
                Some((one? + other?) / 2.0)
            };
            [mean(Half::ece), mean(Half::brier)]
        };
        let [ece, brier] = metrics::resample_groups(&self.groups, settings.resamples, settings.seed, statistics).ok()?;
        let Interval { estimate, low, high } = ece.ok()?.centred(settings.confidence).ok()?;
        Some((Interval { estimate, low: low.max(0.0), high: high.min(1.0) }, brier.ok()?.percentile(settings.confidence).ok()?))
    }

    fn halves(&self, drawn: &[usize]) -> [Half; 2] {
        let mut halves: [Half; 2] = Default::default();
        for &item in drawn {
            let half = &mut halves[usize::from(item >= self.first)];
            half.probabilities.push(self.probabilities[item]);
            half.wrong.push(self.wrong[item]);
        }
        halves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_that_knows_nothing_in_closed_form() {
        // Twelve records, four wrong, all of one score: each half has two wrong and four right, Platt's targets there are 3/4 and 1/6, their
        // mean 13/36; the calibration error is its distance from 1/3.
        let (scores, wrong): (Vec<f64>, Vec<bool>) = (0..12).map(|i| (1.0, i % 3 == 0)).unzip();
        let held_out = HeldOut::new(&scores, &wrong, &Groups::single(12), 3).expect("both classes in each half");
        let (ece, brier) = held_out.intervals(&BenchSettings::default()).expect("defined");
        let p: f64 = 13.0 / 36.0;
        assert!((ece.estimate - (p - 1.0 / 3.0)).abs() < 1e-6, "{ece:?}");
        assert!((brier.estimate - ((1.0 - p).powi(2) + 2.0 * p * p) / 3.0).abs() < 1e-6, "{brier:?}");
    }

    #[test]
    fn every_interval_encloses_its_estimate_even_of_a_calibrated_score() {
        // Scores whose probability of being wrong rises in steps: the calibration error is nothing but noise.
        let (scores, wrong): (Vec<f64>, Vec<bool>) = (0..300).map(|i| (f64::from(i % 10), (i * 7) % 10 < i % 10)).unzip();
        for seed in 0..5 {
            let held_out = HeldOut::new(&scores, &wrong, &Groups::single(300), seed).expect("both classes in each half");
            let (ece, brier) = held_out.intervals(&BenchSettings { seed, ..BenchSettings::default() }).expect("defined");
            for Interval { estimate, low, high } in [ece, brier] {
                assert!(0.0 <= low && low <= estimate && estimate <= high && high <= 1.0 && low < high);
            }
        }
    }

    #[test]
    fn too_few_of_a_class_cannot_be_held_out() {
        assert!(HeldOut::new(&[1.0, 2.0, 3.0], &[true, false, false], &Groups::single(3), 0).is_none());
    }
}
