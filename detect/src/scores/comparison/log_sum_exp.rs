//! Sums of probabilities in logarithms: the probability of a whole answer of a hundred tokens is likelier to underflow than not.

/// ln Σ e^x; of nothing, minus infinity.
pub(super) fn log_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY { largest } else { largest + terms.map(|term| (term - largest).exp()).sum::<f64>().ln() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_below_the_smallest_float() {
        assert!((log_sum_exp([-2000.0, -2000.0].into_iter()) - (-2000.0 + 2f64.ln())).abs() < 1e-12);
        assert_eq!(log_sum_exp(std::iter::empty()), f64::NEG_INFINITY);
        assert_eq!(log_sum_exp([f64::NEG_INFINITY, -1.0].into_iter()), -1.0);
    }
}
