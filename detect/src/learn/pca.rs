//! Principal components by subspace iteration: the few leading singular vectors of centred states, without the matrix of all pairs of dimensions.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{FitError, check_finite, packed};
use crate::eigen;

/// Directions iterated beyond those asked for: the next singular value sets how fast the iteration settles.
const SPARE: usize = 10;
/// Iterations before it counts as not settled.
const MAX_ITERATIONS: usize = 2000;
/// Largest |XᵀX v − σ² v| of a settled direction, in units of the largest σ².
const SETTLED: f64 = 1e-10;

/// The mean and the leading directions of variation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pca {
    #[serde(with = "packed::f64s")]
    mean: Vec<f64>,
    /// Singular values of the centred states, falling, `[k]`.
    pub singular_values: Vec<f64>,
    /// Right singular vectors, one after the other, `[k, D]`.
    #[serde(with = "packed::f64s")]
    components: Vec<f64>,
}

impl Pca {
    /// The `k` leading components of rows of states `[n, D]`; fewer where n or D is smaller.
    ///
    /// # Errors
    /// Fewer than two rows, numbers that are not finite, no convergence.
    pub fn fit(states: ArrayView2<'_, f64>, k: usize, seed: u64) -> Result<Self, FitError> {
        if states.nrows() < 2 {
            return Err(FitError::TooFew { needed: 2, found: states.nrows(), lacking: None });
        }
        check_finite(states)?;
        let mean = states.sum_axis(Axis(0)) / states.nrows() as f64;
        let centred = &states - &mean;
        let k = k.min(states.ncols()).min(states.nrows());
        let (values, vectors) = leading(&centred, k, seed)?;
        Ok(Self { mean: mean.to_vec(), singular_values: values, components: vectors.t().iter().copied().collect() })
    }

    /// Coordinates of a state along the components, `[k]`. A state of another number of dimensions is read as far as both go.
    pub fn project(&self, state: &[f64]) -> Vec<f64> {
        let centred: Vec<f64> = state.iter().zip(&self.mean).map(|(x, mean)| x - mean).collect();
        let along = |component: &[f64]| component.iter().zip(&centred).map(|(a, b)| a * b).sum();
        self.components.chunks(self.mean.len().max(1)).map(along).collect()
    }

    /// How many numbers a state has.
    pub fn dimensions(&self) -> usize {
        self.mean.len()
    }
}

/// The `k` largest singular values and their right singular vectors, columns of `[D, k]`.
fn leading(x: &Array2<f64>, k: usize, seed: u64) -> Result<(Vec<f64>, Array2<f64>), FitError> {
    let width = (k + SPARE).min(x.ncols());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut basis = Array2::from_shape_simple_fn((x.ncols(), width), || 2.0 * rng.random::<f64>() - 1.0);
    for _ in 0..MAX_ITERATIONS {
        orthonormalise(&mut basis);
        let (squares, ritz) = rotate(x, &basis);
        let image = x.t().dot(&x.dot(&ritz));
        let off = |j: usize| (&image.column(j) - &(&ritz.column(j) * squares[j])).mapv(|r| r * r).sum().sqrt();
        if (0..k).all(|j| off(j) <= SETTLED * squares[0]) {
            let values = squares.iter().take(k).map(|square| square.max(0.0).sqrt()).collect();
            return Ok((values, ritz.slice(s![.., ..k]).to_owned()));
        }
        basis = image;
    }
    Err(FitError::NotConverged(MAX_ITERATIONS))
}

/// Rayleigh and Ritz: squared singular values within the basis, falling, and the basis turned to their directions.
fn rotate(x: &Array2<f64>, basis: &Array2<f64>) -> (Array1<f64>, Array2<f64>) {
    let image = x.dot(basis);
    let spectrum = eigen::symmetric(&image.t().dot(&image));
    let falling: Vec<usize> = (0..spectrum.values.len()).rev().collect();
    let values = falling.iter().map(|&i| spectrum.values[i]).collect();
    (values, basis.dot(&spectrum.vectors.select(Axis(0), &falling).t()))
}

/// Gram and Schmidt, twice, so that columns are orthogonal to the last digits. A column within the span of those before it becomes 0.
fn orthonormalise(basis: &mut Array2<f64>) {
    for j in 0..basis.ncols() {
        let before = length(basis.column(j));
        for _ in 0..2 {
            let (done, mut rest) = basis.view_mut().split_at(Axis(1), j);
            let along = done.t().dot(&rest.column(0));
            rest.column_mut(0).scaled_add(-1.0, &done.dot(&along));
        }
        let after = length(basis.column(j));
        let scale = if after > 1e-12 * before { 1.0 / after } else { 0.0 };
        basis.column_mut(j).mapv_inplace(|x| x * scale);
    }
}

fn length(vector: ArrayView1<'_, f64>) -> f64 {
    vector.dot(&vector).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn an_ellipse_has_its_axes() {
        let fitted = Pca::fit(array![[5.0, 1.0], [-3.0, 1.0], [1.0, 3.0], [1.0, -1.0]].view(), 2, 0).expect("four rows");
        assert!((fitted.singular_values[0] - 32f64.sqrt()).abs() < 1e-12 && (fitted.singular_values[1] - 8f64.sqrt()).abs() < 1e-12);
        let along = fitted.project(&[3.0, 2.0]);
        assert!((along[0].abs() - 2.0).abs() < 1e-9 && (along[1].abs() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn flat_states_have_one_component() {
        let fitted = Pca::fit(Array2::from_shape_fn((9, 4), |(i, j)| (i * (j + 1)) as f64).view(), 3, 0).expect("nine rows");
        assert!(fitted.singular_values[0] > 1.0 && fitted.singular_values[1..].iter().all(|&value| value < 1e-6));
        assert!(Pca::fit(array![[1.0]].view(), 1, 0).is_err());
    }
}
