//! Eigenvalues and eigenvectors of small symmetric matrices: graphs over the answers to one prompt, covariances of their hidden states.
//!
//! Five to thirty answers make a matrix that Jacobi's rotations diagonalise in microseconds and to the last digits, without a linear-algebra
//! library in the build.

use ndarray::Array2;

/// Sweeps over all off-diagonal entries; convergence is quadratic and takes about eight, so this bound is met by non-finite entries only.
const MAX_SWEEPS: usize = 60;

/// An eigendecomposition `A = V diag(values) Vᵀ`.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrum {
    /// Eigenvalues in ascending order, `[n]`.
    pub values: Vec<f64>,
    /// Orthonormal eigenvectors, one a row in the order of the values, `[n, n]`.
    pub vectors: Array2<f64>,
}

/// The spectrum of a symmetric matrix `[n, n]`, by cyclic Jacobi rotations (Golub and Van Loan, Matrix Computations, 8.5). Reads the whole
/// matrix and takes its symmetry for granted. Entries that are not finite give values that are not.
pub fn symmetric(matrix: &Array2<f64>) -> Spectrum {
    let (mut a, mut vectors) = (matrix.clone(), Array2::eye(matrix.nrows()));
    for _ in 0..MAX_SWEEPS {
        let (outside, all) = (off_diagonal(&a), a.iter().map(|x| x * x).sum::<f64>());
        if outside <= f64::EPSILON * f64::EPSILON * all || !outside.is_finite() {
            break;
        }
        sweep(&mut a, &mut vectors);
    }
    sorted(&a, &vectors)
}

/// Sum of the squares off the diagonal.
fn off_diagonal(a: &Array2<f64>) -> f64 {
    a.indexed_iter().filter(|((i, j), _)| i != j).map(|(_, x)| x * x).sum()
}

/// One rotation for every entry above the diagonal.
fn sweep(a: &mut Array2<f64>, vectors: &mut Array2<f64>) {
    let n = a.nrows();
    for p in 0..n {
        for q in p + 1..n {
            if a[[p, q]] != 0.0 {
                let (cosine, sine) = rotation(a, p, q);
                rotate_columns(a, p, q, cosine, sine);
                rotate_rows(a, p, q, cosine, sine);
                rotate_rows(vectors, p, q, cosine, sine);
            }
        }
    }
}

/// Cosine and sine of the smaller angle that makes entry (p, q) zero.
fn rotation(a: &Array2<f64>, p: usize, q: usize) -> (f64, f64) {
    let ratio = (a[[q, q]] - a[[p, p]]) / (2.0 * a[[p, q]]);
    let tangent = ratio.signum() / (ratio.abs() + ratio.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    (cosine, tangent * cosine)
}

fn rotate_columns(a: &mut Array2<f64>, p: usize, q: usize, cosine: f64, sine: f64) {
    for mut row in a.rows_mut() {
        (row[p], row[q]) = (cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]);
    }
}

fn rotate_rows(a: &mut Array2<f64>, p: usize, q: usize, cosine: f64, sine: f64) {
    for k in 0..a.ncols() {
        (a[[p, k]], a[[q, k]]) = (cosine * a[[p, k]] - sine * a[[q, k]], sine * a[[p, k]] + cosine * a[[q, k]]);
    }
}

fn sorted(diagonal: &Array2<f64>, vectors: &Array2<f64>) -> Spectrum {
    let mut order: Vec<usize> = (0..diagonal.nrows()).collect();
    order.sort_by(|&i, &j| diagonal[[i, i]].total_cmp(&diagonal[[j, j]]));
    Spectrum {
        values: order.iter().map(|&i| diagonal[[i, i]]).collect(),
        vectors: Array2::from_shape_fn(vectors.dim(), |(i, j)| vectors[[order[i], j]]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;

    #[test]
    fn a_two_by_two_matrix_in_closed_form() {
        let found = symmetric(&array![[2.0, 1.0], [1.0, 2.0]]);
        assert!((found.values[0] - 1.0).abs() < 1e-15 && (found.values[1] - 3.0).abs() < 1e-15);
        assert!((found.vectors[[1, 0]] - found.vectors[[1, 1]]).abs() < 1e-15);
    }

    #[test]
    fn the_path_graph_has_the_eigenvalues_of_cosines() {
        // Adjacency of a path of n: 2 cos(kπ / (n + 1)), k = n..1.
        let n = 9;
        let path = Array2::from_shape_fn((n, n), |(i, j)| f64::from(u8::from(i.abs_diff(j) == 1)));
        let expected = (1..=n).rev().map(|k| 2.0 * (k as f64 * std::f64::consts::PI / (n + 1) as f64).cos());
        symmetric(&path).values.iter().zip(expected).for_each(|(found, expected)| assert!((found - expected).abs() < 1e-14));
    }

    #[test]
    fn what_is_not_finite_ends() {
        assert!(symmetric(&array![[f64::NAN, 1.0], [1.0, 0.0]]).values.iter().any(|value| value.is_nan()));
        assert!(symmetric(&Array2::zeros((0, 0))).values.is_empty());
    }

    proptest! {
        #[test]
        fn the_parts_multiply_to_the_whole(entries in prop::collection::vec(-1e3f64..1e3, 49), n in 1usize..=7) {
            let a = Array2::from_shape_fn((n, n), |(i, j)| entries[i.min(j) * 7 + i.max(j)]);
            let Spectrum { values, vectors } = symmetric(&a);
            let back = vectors.t().dot(&Array2::from_diag(&ndarray::Array1::from(values))).dot(&vectors);
            prop_assert!((&back - &a).iter().all(|x| x.abs() < 1e-9));
            prop_assert!((&vectors.dot(&vectors.t()) - &Array2::<f64>::eye(n)).iter().all(|x| x.abs() < 1e-12));
        }
    }
}
