//! The graph scores of Lin et al. 2024 as published: edges weighed by entailment. The bare names weigh them by the setup's similarity.

use std::rc::Rc;

use ndarray::{Array2, s};

use crate::eigen::{self, Spectrum};
use crate::scores::sampling::graph::{CITATION, normalised_laplacian};
use crate::scores::sampling::{degmat, eccentricity, eigval_laplacian};
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// A score of the graph of samples whose edges weigh (p(i entails j) + p(j entails i)) / 2.
pub(super) struct GraphNli {
    card: &'static Card,
    of: fn(&Case<'_>) -> Result<f64, Missing>,
}

/// trace(M·I − D) / M².
pub(super) const DEGMAT: GraphNli = GraphNli {
    card: &Card {
        name: "degmat_nli",
        needs: &[inputs::SAMPLES],
        cost: Cost::Comparison,
        citation: CITATION,
        summary: "degmat with entailment for similarity",
    },
    of: |case| Ok(degmat::mean_distance(&weights(case)?)),
};

/// √ Σ_k ‖v_k − mean(v_k)‖² over the smooth eigenvectors.
pub(super) const ECCENTRICITY: GraphNli = GraphNli {
    card: &Card { name: "eccentricity_nli", summary: "eccentricity with entailment for similarity", ..*DEGMAT.card },
    of: |case| Ok(eccentricity::distance_from_centre(&spectrum(case)?.0)),
};

/// Σ_k max(0, 1 − λ_k).
pub(super) const EIGVAL_LAPLACIAN: GraphNli = GraphNli {
    card: &Card { name: "eigval_laplacian_nli", summary: "eigval_laplacian with entailment for similarity", ..*DEGMAT.card },
    of: |case| Ok(eigval_laplacian::groups(&spectrum(case)?.0)),
};

impl Scorer for GraphNli {
    fn card(&self) -> &'static Card {
        self.card
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        (self.of)(case)
    }
}

/// Symmetric weights, `[samples, samples]`, 1 on the diagonal.
fn weights(case: &Case<'_>) -> Result<Array2<f64>, Missing> {
    inputs::samples(case.record, 2)?;
    let entailed = case.entailment()?.slice(s![1.., 1..]).mapv(|judgement| judgement.entailment);
    Ok((&entailed + &entailed.t()) / 2.0)
}

struct EntailmentSpectrum(Spectrum);

fn spectrum(case: &Case<'_>) -> Result<Rc<EntailmentSpectrum>, Missing> {
    case.shared(|case| Ok(EntailmentSpectrum(eigen::symmetric(&normalised_laplacian(&weights(case)?)))))
}
