//! The graph of the samples, its edges weighed by the setup's similarity, and its Laplacian's spectrum: shared by the scores of Lin et al. 2024.

use std::rc::Rc;

use ndarray::Array2;

use crate::eigen::{self, Spectrum};
use crate::scores::{Case, Missing, inputs};

/// The paper by title, for the cards.
pub(in crate::scores) const CITATION: &str = "Lin et al. 2024, Generating with Confidence (arXiv 2305.19187), as in LM-Polygraph";

/// Weights of the edges, `[samples, samples]`, 1 on the diagonal. Of at least two samples: one has nothing to agree with.
pub(super) fn weights(case: &Case<'_>) -> Result<Array2<f64>, Missing> {
    inputs::samples(case.record, 2)?;
    case.sample_similarity(case.setup.graph.as_ref())
}

/// Spectrum of the symmetric normalised Laplacian I − D^-½ W D^-½, D the diagonal of the row sums of W.
pub(super) fn laplacian_spectrum(case: &Case<'_>) -> Result<Rc<Spectrum>, Missing> {
    case.shared(|case| {
        let weights = weights(case)?;
        Ok(eigen::symmetric(&normalised_laplacian(&weights)))
    })
}

/// The symmetric normalised Laplacian of a weighted graph `[n, n]` without isolated nodes.
pub(in crate::scores) fn normalised_laplacian(weights: &Array2<f64>) -> Array2<f64> {
    let scale: Vec<f64> = weights.rows().into_iter().map(|row| 1.0 / row.sum().sqrt()).collect();
    Array2::from_shape_fn(weights.dim(), |(i, j)| f64::from(u8::from(i == j)) - scale[i] * weights[[i, j]] * scale[j])
}
