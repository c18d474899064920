//! Many scores compared at once: p-values adjusted so that the best of thirty chance findings does not pass for one.

use super::{MetricError, check_finite};

/// Adjusted p-values of Holm (1979): with those at most α called findings, the probability of any false one is at most α, however the tests
/// depend on each other.
///
/// # Errors
/// A p-value outside 0 to 1.
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>, MetricError> {
    let order = ascending(p_values)?;
    let (mut adjusted, mut largest) = (vec![0.0; order.len()], 0.0f64);
    for (rank, &test) in order.iter().enumerate() {
        largest = largest.max((order.len() - rank) as f64 * p_values[test]).min(1.0);
        adjusted[test] = largest;
    }
    Ok(adjusted)
}

/// Adjusted p-values of Benjamini and Hochberg (1995): with those at most α called findings, the expected share of false ones among them is at
/// most α where the tests are independent or positively dependent.
///
/// # Errors
/// A p-value outside 0 to 1.
pub fn benjamini_hochberg(p_values: &[f64]) -> Result<Vec<f64>, MetricError> {
    let order = ascending(p_values)?;
    let (mut adjusted, mut smallest) = (vec![0.0; order.len()], 1.0f64);
    for (rank, &test) in order.iter().enumerate().rev() {
        smallest = smallest.min(order.len() as f64 / (rank + 1) as f64 * p_values[test]);
        adjusted[test] = smallest;
    }
    Ok(adjusted)
}

/// The tests in order of their p-values.
fn ascending(p_values: &[f64]) -> Result<Vec<usize>, MetricError> {
    check_finite(p_values)?;
    if let Some(index) = p_values.iter().position(|p| !(0.0..=1.0).contains(p)) {
        return Err(MetricError::NotProbability { index, value: p_values[index] });
    }
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_tests_by_hand() {
        assert_eq!(holm(&[0.04, 0.01, 0.03]), Ok(vec![0.06, 0.03, 0.06]));
        assert_eq!(benjamini_hochberg(&[0.04, 0.01, 0.03]), Ok(vec![0.04, 0.03, 0.04]));
        assert_eq!((holm(&[]), benjamini_hochberg(&[0.2])), (Ok(vec![]), Ok(vec![0.2])));
    }

    #[test]
    fn what_is_no_p_value_is_named() {
        assert_eq!(holm(&[0.5, 1.5]), Err(MetricError::NotProbability { index: 1, value: 1.5 }));
        assert!(matches!(benjamini_hochberg(&[f64::NAN]), Err(MetricError::NotFinite { index: 0, .. })));
    }
}
