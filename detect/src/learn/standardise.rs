//! Features brought to mean 0 and standard deviation 1, as scikit-learn's `StandardScaler` does.

use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::packed;

/// Means and standard deviations (n) of columns, `[D]` each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standardiser {
    #[serde(with = "packed::f64s")]
    mean: Vec<f64>,
    /// 1 for columns without spread.
    #[serde(with = "packed::f64s")]
    scale: Vec<f64>,
}

impl Standardiser {
    /// Of rows of features `[n, D]`.
    pub fn fit(features: ArrayView2<'_, f64>) -> Self {
        let n = features.nrows().max(1) as f64;
        let mean = features.sum_axis(Axis(0)) / n;
        let variance = (&features - &mean).mapv(|x| x * x).sum_axis(Axis(0)) / n;
        let scale = |(variance, mean): (&f64, &f64)| {
            let deviation = variance.sqrt();
            if deviation > 1e-12 * mean.abs() && deviation.is_normal() { deviation } else { 1.0 }
        };
        Self { scale: variance.iter().zip(&mean).map(scale).collect(), mean: mean.to_vec() }
    }

    /// A row in units of standard deviations from the mean.
    pub fn apply(&self, row: &[f64]) -> Vec<f64> {
        row.iter().zip(&self.mean).zip(&self.scale).map(|((x, mean), scale)| (x - mean) / scale).collect()
    }

    /// All rows.
    pub fn apply_all(&self, features: ArrayView2<'_, f64>) -> Array2<f64> {
        let place = |(i, j): (usize, usize)| (features[[i, j]] - self.mean[j]) / self.scale[j];
        Array2::from_shape_fn((features.nrows(), features.ncols().min(self.mean.len())), place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn columns_get_mean_0_and_deviation_1() {
        let features = array![[1.0, 7.0, 0.1], [3.0, 7.0, 0.1], [5.0, 7.0, 0.1]];
        let found = Standardiser::fit(features.view()).apply_all(features.view());
        let edge = (3.0f64 / 2.0).sqrt();
        assert!((&found - &array![[-edge, 0.0, 0.0], [0.0, 0.0, 0.0], [edge, 0.0, 0.0]]).iter().all(|x| x.abs() < 1e-12), "{found}");
    }
}
