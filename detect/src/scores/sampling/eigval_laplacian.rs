//! How many groups the samples fall into, counted in fractions: the small eigenvalues of their graph.

use super::graph;
use crate::eigen::Spectrum;
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// Σ_k max(0, 1 − λ_k) over the eigenvalues of the normalised Laplacian: of k unconnected cliques it is k.
pub(super) struct EigvalLaplacian;

impl Scorer for EigvalLaplacian {
    fn card(&self) -> &'static Card {
        &Card {
            name: "eigval_laplacian",
            needs: &[inputs::SAMPLES],
            cost: Cost::Samples,
            citation: graph::CITATION,
            summary: "number of groups of samples, continuous: sum of max(0, 1 - eigenvalue) of the graph Laplacian",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let spectrum = graph::laplacian_spectrum(case)?;
        Ok(groups(&spectrum))
    }
}

/// Σ_k max(0, 1 − λ_k) of a normalised Laplacian.
pub(in crate::scores) fn groups(spectrum: &Spectrum) -> f64 {
    spectrum.values.iter().map(|value| (1.0 - value).max(0.0)).sum()
}
