//! The Cholesky factor of a symmetric positive definite matrix: solves with a covariance without ever inverting it.
//!
//! Rows of the lower triangle lie one after the other, so that both the factorisation and the solution are scalar products of consecutive numbers;
//! 2,048 dimensions take some seconds once, and about a millisecond a record.

use ndarray::{ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

use super::packed;

/// L with L Lᵀ = A, lower triangle row by row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cholesky {
    #[serde(with = "packed::f64s")]
    lower: Vec<f64>,
}

impl Cholesky {
    /// The factor of a symmetric `[D, D]`, of which the lower triangle is read, with `jitter` on its diagonal; `None` unless positive definite.
    pub(crate) fn new(a: ArrayView2<'_, f64>, jitter: f64) -> Option<Self> {
        let mut lower: Vec<f64> = Vec::with_capacity(a.nrows() * (a.nrows() + 1) / 2);
        for i in 0..a.nrows() {
            let mut row: Vec<f64> = Vec::with_capacity(i + 1);
            for j in 0..i {
                let above = &lower[j * (j + 1) / 2..][..=j];
                row.push((a[[i, j]] - dot(&row, &above[..j])) / above[j]);
            }
            let pivot = a[[i, i]] + jitter - dot(&row, &row);
            if !(pivot > 0.0 && pivot.is_finite()) {
                return None;
            }
            row.push(pivot.sqrt());
            lower.extend(row);
        }
        Some(Self { lower })
    }

    /// The squared length xᵀ A⁻¹ x = |L⁻¹ x|², by forward substitution; `None` where `x` has another length than A.
    pub(crate) fn squared_length(&self, x: &[f64]) -> Option<f64> {
        if self.lower.len() != x.len() * (x.len() + 1) / 2 {
            return None;
        }
        let mut solved: Vec<f64> = Vec::with_capacity(x.len());
        for (i, &value) in x.iter().enumerate() {
            let row = &self.lower[i * (i + 1) / 2..][..=i];
            solved.push((value - dot(&row[..i], &solved)) / row[i]);
        }
        Some(dot(&solved, &solved))
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    ArrayView1::from(a).dot(&ArrayView1::from(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn two_dimensions_in_closed_form() {
        // The inverse of [[4, 2], [2, 3]] is [[3, -2], [-2, 4]] / 8.
        let factor = Cholesky::new(array![[4.0, 2.0], [2.0, 3.0]].view(), 0.0).expect("positive definite");
        assert!((factor.squared_length(&[1.0, 2.0]).expect("two numbers") - (3.0 - 8.0 + 16.0) / 8.0).abs() < 1e-15);
        assert_eq!(factor.squared_length(&[1.0]), None);
    }

    #[test]
    fn a_singular_matrix_takes_jitter() {
        let singular = array![[1.0, 1.0], [1.0, 1.0]];
        assert!(Cholesky::new(singular.view(), 0.0).is_none() && Cholesky::new(singular.view(), 1e-6).is_some());
        assert!(Cholesky::new(array![[f64::NAN]].view(), 0.0).is_none());
    }
}
