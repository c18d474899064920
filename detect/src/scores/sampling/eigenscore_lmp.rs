//! EigenScore as LM-Polygraph computes it.

use super::eigenscore::{mean_log_eigenvalue, states};
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// As `eigenscore`, but of the states at the samples' last tokens, and the products are not divided by D − 1. As 10⁻³ is added to either matrix,
/// the two differ by more than a constant.
pub(super) struct EigenScoreLmp;

impl Scorer for EigenScoreLmp {
    fn card(&self) -> &'static Card {
        &Card {
            name: "eigenscore_lmp",
            needs: &[inputs::SAMPLES, inputs::SAMPLE_HIDDEN],
            cost: Cost::Samples,
            citation: "Chen et al. 2024, INSIDE (arXiv 2402.03744), as in LM-Polygraph: last-token states, undivided",
            summary: "mean log eigenvalue of the Gram matrix of the samples' last hidden states",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let states = states(inputs::samples(case.record, 2)?, |hidden| &hidden.last, "hidden[].last of one layer and size")?;
        Ok(mean_log_eigenvalue(&states, 1.0))
    }
}
