//! How far the samples lie from their centre, in the space that the smooth eigenvectors of their graph span.

use ndarray::ArrayView1;

use super::graph;
use crate::eigen::Spectrum;
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// Eigenvectors of the Laplacian with an eigenvalue below this are kept: the default of the paper's code and of LM-Polygraph.
const THRESHOLD: f64 = 0.9;

/// √ Σ_k ‖v_k − mean(v_k)‖² over the unit eigenvectors v_k with eigenvalue < 0.9 of the normalised Laplacian.
pub(super) struct Eccentricity;

impl Scorer for Eccentricity {
    fn card(&self) -> &'static Card {
        &Card {
            name: "eccentricity",
            needs: &[inputs::SAMPLES],
            cost: Cost::Samples,
            citation: graph::CITATION,
            summary: "distance of the samples from their centre in the graph's spectral embedding",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let spectrum = graph::laplacian_spectrum(case)?;
        Ok(distance_from_centre(&spectrum))
    }
}

/// √ Σ_k ‖v_k − mean(v_k)‖² over the eigenvectors of a normalised Laplacian below the threshold.
pub(in crate::scores) fn distance_from_centre(spectrum: &Spectrum) -> f64 {
    let kept = spectrum.values.iter().zip(spectrum.vectors.rows()).filter(|(value, _)| **value < THRESHOLD);
    kept.map(|(_, vector)| spread(vector)).sum::<f64>().sqrt()
}

/// Sum of the squared deviations from the mean.
fn spread(vector: ArrayView1<'_, f64>) -> f64 {
    let mean = vector.sum() / vector.len() as f64;
    vector.iter().map(|x| (x - mean).powi(2)).sum()
}
