//! A Gaussian fitted to hidden states, and the Mahalanobis distance from it.
//!
//! With more records than dimensions it is LM-Polygraph's: the sample covariance, with the smallest jitter of a ladder that makes it positive
//! definite. With fewer the sample covariance has no inverse whatever the rounding says; a tiny jitter would make directions that no record
//! varied in outweigh all others by many orders. There the covariance is shrunk towards a multiple of the identity (Ledoit and Wolf 2004).

use ndarray::{Array1, Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::cholesky::Cholesky;
use super::{FitError, check_finite, packed};

/// Powers of ten of the jitters that are tried.
const JITTERS: std::ops::Range<i32> = -15..0;

type Factorised = Result<(Cholesky, Regularisation), FitError>;

/// Mean and covariance, `D` dimensions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gaussian {
    #[serde(with = "packed::f64s")]
    mean: Vec<f64>,
    factor: Cholesky,
    /// What made the covariance invertible.
    pub regularisation: Regularisation,
}

/// What makes a covariance invertible.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regularisation {
    /// This much is added to every variance.
    Jitter(f64),
    /// This share of the covariance, 0 to 1, is replaced by the mean variance times the identity.
    Shrinkage(f64),
}

impl Gaussian {
    /// Fits rows of states, `[n, D]`.
    ///
    /// # Errors
    /// Fewer than two rows, numbers that are not finite, a covariance that no jitter makes positive definite (no spread at all).
    pub fn fit(states: ArrayView2<'_, f64>) -> Result<Self, FitError> {
        if states.nrows() > states.ncols() { Self::fit_with(states, jittered) } else { Self::shrunk(states) }
    }

    /// The same with the covariance shrunk however many rows there are: for a distance that is compared with that of a shrunk one.
    ///
    /// # Errors
    /// As [`Gaussian::fit`].
    pub fn shrunk(states: ArrayView2<'_, f64>) -> Result<Self, FitError> {
        Self::fit_with(states, shrunk)
    }

    fn fit_with(states: ArrayView2<'_, f64>, factorise: fn(&Array2<f64>) -> Factorised) -> Result<Self, FitError> {
        if states.nrows() < 2 {
            return Err(FitError::TooFew { needed: 2, found: states.nrows(), lacking: None });
        }
        check_finite(states)?;
        let mean = states.sum_axis(Axis(0)) / states.nrows() as f64;
        let centred = &states - &mean;
        let (factor, regularisation) = factorise(&centred)?;
        Ok(Self { mean: mean.to_vec(), factor, regularisation })
    }

    /// √((x − μ)ᵀ Σ⁻¹ (x − μ)); `None` where `x` has another number of dimensions.
    pub fn distance(&self, x: &[f64]) -> Option<f64> {
        let from_mean: Vec<f64> = x.iter().zip(&self.mean).map(|(x, mean)| x - mean).collect();
        if x.len() == self.mean.len() { self.factor.squared_length(&from_mean).map(f64::sqrt) } else { None }
    }

    /// How many dimensions.
    pub fn dimensions(&self) -> usize {
        self.mean.len()
    }
}

/// The sample covariance (n − 1) with the first jitter of the ladder that makes it positive definite.
fn jittered(centred: &Array2<f64>) -> Factorised {
    let covariance = centred.t().dot(centred) / (centred.nrows() - 1) as f64;
    let try_with = |exponent: i32| {
        let jitter = 10f64.powi(exponent);
        Some((Cholesky::new(covariance.view(), jitter)?, Regularisation::Jitter(jitter)))
    };
    JITTERS.into_iter().find_map(try_with).ok_or(FitError::NotPositiveDefinite(0.1))
}

/// (1 − s) S + s μ I with S the covariance (n), μ its mean variance and the s of Ledoit and Wolf, as scikit-learn's `LedoitWolf` computes it.
fn shrunk(centred: &Array2<f64>) -> Factorised {
    let (n, d) = (centred.nrows() as f64, centred.ncols() as f64);
    let mut covariance = centred.t().dot(centred) / n;
    let squares: Array1<f64> = (centred * centred).sum_axis(Axis(1));
    let (size, mean_variance) = (covariance.iter().map(|x| x * x).sum::<f64>(), squares.sum() / n / d);
    let noise = (squares.dot(&squares) / n - size) / (d * n);
    let spread = size / d - mean_variance * mean_variance;
    let shrinkage = if spread > 0.0 { noise.min(spread) / spread } else { 0.0 };
    covariance *= 1.0 - shrinkage;
    covariance.diag_mut().mapv_inplace(|variance| variance + shrinkage * mean_variance);
    let factor = Cholesky::new(covariance.view(), 0.0).ok_or(FitError::NotPositiveDefinite(0.0))?;
    Ok((factor, Regularisation::Shrinkage(shrinkage)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;

    #[test]
    fn one_dimension_counts_standard_deviations() {
        let fitted = Gaussian::fit(array![[1.0], [2.0], [3.0]].view()).expect("spread");
        assert!((fitted.distance(&[5.0]).expect("one number") - 3.0).abs() < 1e-12);
        assert_eq!((fitted.distance(&[1.0, 2.0]), fitted.regularisation), (None, Regularisation::Jitter(1e-15)));
    }

    #[test]
    fn what_has_no_distance_is_named() {
        let fit = |states: Array2<f64>| Gaussian::fit(states.view()).expect_err("bad").to_string();
        assert_eq!(fit(array![[1.0, 2.0]]), "1 records have what it learns from; at least 2 are needed");
        assert!(fit(array![[1.0, 2.0], [1.0, 2.0]]).contains("not positive definite"));
        assert_eq!(fit(array![[1.0], [f64::INFINITY]]), "row 1 of the features has a number that is not finite");
    }

    proptest! {
        /// Moving, turning and, but for jitter and shrinkage, stretching all states leaves every distance as it is.
        #[test]
        fn moved_turned_and_stretched_states_are_as_far(
            entries in prop::collection::vec(-3.0f64..3.0, 60), angle in 0.0f64..6.3, shift in -9.0f64..9.0, stretch in 0.5f64..4.0
        ) {
            let states = Array2::from_shape_vec((20, 3), entries).expect("sixty numbers");
            let (sine, cosine) = angle.sin_cos();
            let turn = array![[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]];
            let moved = states.dot(&turn) * stretch + shift;
            let (before, after) = (Gaussian::fit(states.view()).expect("spread"), Gaussian::fit(moved.view()).expect("spread"));
            for (x, y) in states.rows().into_iter().zip(moved.rows()) {
                let (x, y) = (before.distance(&x.to_vec()).expect("three"), after.distance(&y.to_vec()).expect("three"));
                prop_assert!((x - y).abs() < 1e-6 * x.max(1.0));
            }
        }

        #[test]
        fn few_states_moved_and_turned_are_as_far(entries in prop::collection::vec(-3.0f64..3.0, 40), shift in -9.0f64..9.0) {
            let states = Array2::from_shape_vec((4, 10), entries).expect("forty numbers");
            let moved = Array2::from_shape_fn((4, 10), |(i, j)| shift - states[[i, 9 - j]]);
            let (before, after) = (Gaussian::fit(states.view()).expect("spread"), Gaussian::fit(moved.view()).expect("spread"));
            for (x, y) in states.rows().into_iter().zip(moved.rows()) {
                let (x, y) = (before.distance(&x.to_vec()).expect("ten"), after.distance(&y.to_vec()).expect("ten"));
                prop_assert!((x - y).abs() < 1e-8 * x.max(1.0));
            }
        }
    }
}
