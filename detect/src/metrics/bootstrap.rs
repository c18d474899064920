//! Percentile bootstrap (Efron 1979) over items, in parallel and yet the same for the same seed on any number of threads: resample i draws from
//! stream i of one ChaCha generator.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{MetricError, check_confidence, check_finite};

/// A value with its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The value itself.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// A statistic of some items, and of resamples of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Resampled {
    /// The statistic of the items themselves.
    estimate: f64,
    /// Its values on the resamples that have one, rising; at least one.
    values: Vec<f64>,
}

impl Resampled {
    /// The percentile interval: between quantiles of the resampled values.
    ///
    /// # Errors
    /// A confidence outside 0 to 1.
    pub fn percentile(&self, confidence: f64) -> Result<Interval, MetricError> {
        check_confidence(confidence)?;
        let tail = (1.0 - confidence) / 2.0;
        Ok(Interval { estimate: self.estimate, low: quantile(&self.values, tail), high: quantile(&self.values, 1.0 - tail) })
    }

    /// Standard deviation of the resampled values, which estimates the standard error of the statistic; 0 for fewer than two.
    pub fn std_error(&self) -> f64 {
        let n = self.values.len() as f64;
        let mean = self.values.iter().sum::<f64>() / n;
        let spread = self.values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        if n > 1.0 { (spread / (n - 1.0)).sqrt() } else { 0.0 }
    }

    /// The percentile interval, shifted so that the resampled values have the estimate as their mean: for a statistic that resampling
    /// biases. A sum of absolute values such as the calibration error grows with every bit of noise; its resamples lie above the estimate,
    /// and their quantiles may not even enclose it. What remains is the spread of the estimate at this number of items; a bias that the
    /// estimate itself has from its finite sample (Kumar et al. 2019, arXiv 1909.10155) is not removed.
    ///
    /// # Errors
    /// A confidence outside 0 to 1.
    pub fn centred(&self, confidence: f64) -> Result<Interval, MetricError> {
        let Interval { estimate, low, high } = self.percentile(confidence)?;
        let shift = estimate - self.values.iter().sum::<f64>() / self.values.len() as f64;
        Ok(Interval { estimate, low: low + shift, high: high + shift })
    }
}

/// Several statistics of `n_items` items on the same resamples. `statistics` gets the indices of the items drawn, repeats included, and is
/// `None` where a statistic has no value (an AUROC of one class only); such resamples are left out of that statistic.
///
/// # Errors
/// No items, no resamples; for one statistic, that it is undefined on the items themselves or on all resamples.
pub fn resample<const K: usize>(
    n_items: usize,
    resamples: usize,
    seed: u64,
    statistics: impl Fn(&[usize]) -> [Option<f64>; K] + Sync,
) -> Result<[Result<Resampled, MetricError>; K], MetricError> {
    resample_by(n_items, resamples, |stream| draw(n_items, seed, stream), statistics)
}

/// [`resample`], where resample `i` consists of the items `draw(i)`.
pub(super) fn resample_by<const K: usize>(
    n_items: usize,
    resamples: usize,
    draw: impl Fn(u64) -> Vec<usize> + Sync,
    statistics: impl Fn(&[usize]) -> [Option<f64>; K] + Sync,
) -> Result<[Result<Resampled, MetricError>; K], MetricError> {
    if n_items == 0 {
        return Err(MetricError::Empty);
    }
    if resamples == 0 {
        return Err(MetricError::Setting { name: "resamples", value: 0.0, expected: "at least 1" });
    }
    let estimates = statistics(&(0..n_items).collect::<Vec<_>>());
    let drawn: Vec<[Option<f64>; K]> = (0..resamples as u64).into_par_iter().map(|stream| statistics(&draw(stream))).collect();
    Ok(std::array::from_fn(|k| {
        let estimate = estimates[k].ok_or(MetricError::Undefined(1))?;
        let mut values: Vec<f64> = drawn.iter().filter_map(|values| values[k]).collect();
        values.sort_by(f64::total_cmp);
        if values.is_empty() { Err(MetricError::Undefined(resamples)) } else { Ok(Resampled { estimate, values }) }
    }))
}

/// Percentile interval of one statistic, which is called as those of [`resample`].
///
/// # Errors
/// No items, no resamples, a confidence outside 0 to 1, or a statistic that is undefined on the items themselves or on all resamples.
pub fn bootstrap(
    n_items: usize,
    resamples: usize,
    confidence: f64,
    seed: u64,
    statistic: impl Fn(&[usize]) -> Option<f64> + Sync,
) -> Result<Interval, MetricError> {
    check_confidence(confidence)?;
    let [resampled] = resample(n_items, resamples, seed, |items| [statistic(items)])?;
    resampled?.percentile(confidence)
}

/// Interval of the difference of means `ours` − `theirs` where both list the same items in the same order: items are drawn in pairs, so that
/// what makes an item hard for both arms does not widen the interval.
///
/// # Errors
/// Unequal, empty or non-finite lists; else as [`bootstrap`].
pub fn paired_bootstrap(ours: &[f64], theirs: &[f64], resamples: usize, confidence: f64, seed: u64) -> Result<Interval, MetricError> {
    if ours.len() != theirs.len() {
        return Err(MetricError::Lengths { scores: ours.len(), labels: theirs.len() });
    }
    check_finite(ours)?;
    check_finite(theirs)?;
    let differences: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours - theirs).collect();
    let mean = |items: &[usize]| Some(items.iter().map(|&item| differences[item]).sum::<f64>() / items.len() as f64);
    bootstrap(differences.len(), resamples, confidence, seed, mean)
}

/// `n_items` indices drawn with replacement.
fn draw(n_items: usize, seed: u64, stream: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    (0..n_items).map(|_| rng.random_range(0..n_items)).collect()
}

/// Quantile of sorted values, linear between neighbours (numpy's default).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_mean_is_near_the_normal_one() {
        // 400 items, half of them 1: the mean's standard error is 0.025.
        let items: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
        let zeros = vec![0.0; 400];
        let found = paired_bootstrap(&items, &zeros, 4000, 0.95, 7).expect("defined");
        assert_eq!(found.estimate, 0.5);
        assert!((found.low - (0.5 - 1.96 * 0.025)).abs() < 0.004 && (found.high - (0.5 + 1.96 * 0.025)).abs() < 0.004, "{found:?}");
    }

    #[test]
    fn one_seed_one_answer_on_any_number_of_threads() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| bootstrap(20, 99, 0.9, 3, |items| Some(items.iter().sum::<usize>() as f64)))
        };
        assert_eq!(run(1), run(3));
        assert_ne!(run(1), bootstrap(20, 99, 0.9, 4, |items| Some(items.iter().sum::<usize>() as f64)));
    }

    #[test]
    fn a_shared_difference_has_no_width() {
        let found = paired_bootstrap(&[1.0, 5.0, 9.0], &[0.0, 4.0, 8.0], 50, 0.95, 1);
        assert_eq!(found, Ok(Interval { estimate: 1.0, low: 1.0, high: 1.0 }));
    }

    #[test]
    fn statistics_share_their_resamples() {
        let first = |items: &[usize]| Some(items[0] as f64);
        let [one, none] = resample(9, 40, 5, |items| [first(items), None]).expect("items and resamples");
        assert_eq!(one.and_then(|found| found.percentile(0.8)), bootstrap(9, 40, 0.8, 5, first));
        assert_eq!(none, Err(MetricError::Undefined(1)));
    }

    #[test]
    fn centring_takes_the_bias_of_resampling_away() {
        // The mean of 1, -1, 1, -1, ... is 0 and its absolute value on a resample never less, half-normal of scale 1/20: mean 0.04.
        let absolute = |items: &[usize]| [Some(items.iter().map(|&item| 1.0 - 2.0 * (item % 2) as f64).sum::<f64>().abs() / 400.0)];
        let [found] = resample(400, 4000, 11, absolute).expect("items and resamples");
        let (plain, centred) =
            (found.clone().and_then(|f| f.percentile(0.9)).expect("valid"), found.and_then(|f| f.centred(0.9)).expect("valid"));
        let bias = (2.0 / std::f64::consts::PI).sqrt() / 20.0;
        assert!((plain.low - centred.low - bias).abs() < 2e-3 && (plain.high - centred.high - bias).abs() < 2e-3, "{plain:?} {centred:?}");
        assert!(centred.low < centred.estimate && centred.estimate < centred.high);
    }

    #[test]
    fn what_cannot_be_resampled_is_named() {
        assert_eq!(bootstrap(0, 10, 0.9, 1, |_| Some(0.0)), Err(MetricError::Empty));
        assert_eq!(bootstrap(5, 10, 0.9, 1, |_| None), Err(MetricError::Undefined(1)));
        assert!(matches!(bootstrap(5, 0, 0.9, 1, |_| Some(0.0)), Err(MetricError::Setting { name: "resamples", .. })));
        assert!(matches!(bootstrap(5, 10, 1.0, 1, |_| Some(0.0)), Err(MetricError::Setting { name: "confidence", .. })));
    }

    #[test]
    fn quantiles_between_neighbours() {
        assert_eq!([quantile(&[1.0, 2.0, 4.0], 0.25), quantile(&[1.0, 2.0, 4.0], 1.0), quantile(&[3.0], 0.4)], [1.5, 4.0, 3.0]);
    }
}
