//! Intervals in closed form: a mean over few runs, a share of counted items.

use statrs::distribution::{Beta, ContinuousCDF, StudentsT};
use statrs::statistics::Statistics;

use super::{Interval, MetricError, check_confidence, check_finite};

/// Student's t interval of the mean of independent values, such as one result per seed.
///
/// # Errors
/// Fewer than two values, non-finite values, a confidence outside 0 to 1.
pub fn student_t(values: &[f64], confidence: f64) -> Result<Interval, MetricError> {
    check_confidence(confidence)?;
    check_finite(values)?;
    let found = values.len();
    let too_few = MetricError::TooFew { needed: 2, found };
    let t = StudentsT::new(0.0, 1.0, found.saturating_sub(1) as f64).map_err(|_| too_few)?;
    let half_width = t.inverse_cdf((1.0 + confidence) / 2.0) * values.std_dev() / (found as f64).sqrt();
    let estimate = values.mean();
    Ok(Interval { estimate, low: estimate - half_width, high: estimate + half_width })
}

/// Exact interval of a proportion (Clopper and Pearson 1934).
///
/// # Errors
/// No trials, more successes than trials, a confidence outside 0 to 1.
pub fn binomial_interval(successes: u64, trials: u64, confidence: f64) -> Result<Interval, MetricError> {
    check_confidence(confidence)?;
    check_trials(successes, trials)?;
    let tail = (1.0 - confidence) / 2.0;
    let failures = trials - successes;
    let low = if successes == 0 { 0.0 } else { beta_quantile(successes, failures + 1, tail)? };
    let high = if failures == 0 { 1.0 } else { beta_quantile(successes + 1, failures, 1.0 - tail)? };
    Ok(Interval { estimate: successes as f64 / trials as f64, low, high })
}

/// Upper bound of a proportion that holds with `confidence`: the one-sided bound of Clopper and Pearson (1934).
///
/// # Errors
/// As [`binomial_interval`].
pub fn binomial_upper(successes: u64, trials: u64, confidence: f64) -> Result<f64, MetricError> {
    check_confidence(confidence)?;
    check_trials(successes, trials)?;
    if successes == trials { Ok(1.0) } else { beta_quantile(successes + 1, trials - successes, confidence) }
}

fn check_trials(successes: u64, trials: u64) -> Result<(), MetricError> {
    if trials == 0 {
        return Err(MetricError::Empty);
    }
    if successes > trials {
        return Err(MetricError::Setting { name: "successes", value: successes as f64, expected: "at most the number of trials" });
    }
    Ok(())
}

/// Quantile of the beta distribution; both shapes are at least 1 here.
fn beta_quantile(a: u64, b: u64, share: f64) -> Result<f64, MetricError> {
    let beta = Beta::new(a as f64, b as f64);
    beta.map(|beta| beta.inverse_cdf(share)).map_err(|_| MetricError::Setting {
        name: "trials",
        value: (a + b - 1) as f64,
        expected: "a count",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_and_none_in_closed_form() {
        // Without a failure the lower end is tail^(1/n).
        let all = binomial_interval(10, 10, 0.95).expect("valid");
        assert!((all.low - 0.025f64.powf(0.1)).abs() < 1e-9 && all.high == 1.0, "{all:?}");
        let none = binomial_interval(0, 10, 0.95).expect("valid");
        assert!((none.high - (1.0 - 0.025f64.powf(0.1))).abs() < 1e-9 && none.low == 0.0, "{none:?}");
    }

    #[test]
    fn two_seeds_in_closed_form() {
        // One degree of freedom: t = tan(pi * confidence / 2); mean 2, standard error 1.
        let found = student_t(&[1.0, 3.0], 0.9).expect("valid");
        let t = (std::f64::consts::FRAC_PI_2 * 0.9).tan();
        assert!((found.low - (2.0 - t)).abs() < 1e-6 && (found.high - (2.0 + t)).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn what_has_no_interval_is_named() {
        assert_eq!(student_t(&[1.0], 0.9), Err(MetricError::TooFew { needed: 2, found: 1 }));
        assert_eq!(student_t(&[], 0.9), Err(MetricError::TooFew { needed: 2, found: 0 }));
        assert_eq!(binomial_interval(0, 0, 0.9), Err(MetricError::Empty));
        assert!(matches!(binomial_interval(3, 2, 0.9), Err(MetricError::Setting { name: "successes", .. })));
    }
}
