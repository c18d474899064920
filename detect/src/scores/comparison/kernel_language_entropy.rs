//! Kernel language entropy: how many meanings there are when meanings may be near each other, not only the same or different.

use ndarray::{Array1, Array2, s};

use crate::eigen::{self, Spectrum};
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// Time of the heat kernel, as published.
const TIME: f64 = 0.3;
/// Eigenvalues up to this count as none, as in LM-Polygraph.
const NEGLIGIBLE: f64 = 1e-8;

/// −tr(K ln K) / ln M, K the heat kernel e^(−0.3 L) of the samples' graph, scaled to diagonal 1/M; L = D − W, W_ij = Σ over both directions
/// of p(entailment) + p(neutral)/2. From 0 (one meaning) to 1 (M unrelated ones).
pub(super) struct KernelLanguageEntropy;

impl Scorer for KernelLanguageEntropy {
    fn card(&self) -> &'static Card {
        &Card {
            name: "kernel_language_entropy",
            needs: &[inputs::SAMPLES],
            cost: Cost::Comparison,
            citation: "Nikitin et al. 2024 (arXiv 2405.20003), heat kernel, as in LM-Polygraph KernelLanguageEntropy",
            summary: "von Neumann entropy of the heat kernel of the samples' entailment graph, 0 to 1",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let count = inputs::samples(case.record, 2)?.len() as f64;
        let near = case.entailment()?.slice(s![1.., 1..]).mapv(|judgement| judgement.entailment + judgement.neutral / 2.0);
        Ok(von_neumann(&unit_trace(&heat_kernel(&(&near + &near.t())))) / count.ln())
    }
}

/// e^(−t L) of a weighted graph `[n, n]`; its diagonal does not matter.
fn heat_kernel(weights: &Array2<f64>) -> Array2<f64> {
    let laplacian = Array2::from_diag(&weights.sum_axis(ndarray::Axis(1))) - weights;
    let Spectrum { values, vectors } = eigen::symmetric(&laplacian);
    let decayed = Array1::from_iter(values.iter().map(|value| (-TIME * value).exp()));
    (&vectors.t() * &decayed).dot(&vectors)
}

/// K_ij / √(K_ii K_jj) / n.
fn unit_trace(kernel: &Array2<f64>) -> Array2<f64> {
    let n = kernel.nrows() as f64;
    Array2::from_shape_fn(kernel.dim(), |(i, j)| kernel[[i, j]] / (kernel[[i, i]] * kernel[[j, j]]).sqrt() / n)
}

/// −Σ λ ln λ over the eigenvalues.
fn von_neumann(kernel: &Array2<f64>) -> f64 {
    eigen::symmetric(kernel).values.iter().filter(|value| **value > NEGLIGIBLE).map(|value| -value * value.ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_edges_leave_equal_eigenvalues_and_strong_ones_leave_one() {
        assert!((von_neumann(&unit_trace(&heat_kernel(&Array2::zeros((5, 5))))) - 5f64.ln()).abs() < 1e-12);
        assert!(von_neumann(&unit_trace(&heat_kernel(&Array2::from_elem((5, 5), 100.0)))).abs() < 1e-12);
    }
}
