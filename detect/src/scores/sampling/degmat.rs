//! How far the samples are from one another on average: the degree matrix of their graph.

use ndarray::Array2;

use super::graph;
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// trace(M·I − D) / M² = 1 − mean of all M × M similarities, a sample's with itself included.
pub(super) struct DegMat;

impl Scorer for DegMat {
    fn card(&self) -> &'static Card {
        &Card {
            name: "degmat",
            needs: &[inputs::SAMPLES],
            cost: Cost::Samples,
            citation: graph::CITATION,
            summary: "1 - mean similarity of all samples with all: degree matrix of their graph",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        Ok(mean_distance(&graph::weights(case)?))
    }
}

/// trace(M·I − D) / M² of the weights `[M, M]`.
pub(in crate::scores) fn mean_distance(weights: &Array2<f64>) -> f64 {
    1.0 - weights.sum() / weights.len() as f64
}
