//! How many meanings the samples have: connected components, which unlike clusters by their first member do not depend on order.

use ndarray::{Array2, s};

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};
use crate::setup::Equivalence;

/// Connected components of the graph whose edges join samples that entail rather than contradict each other, p(entailment) >
/// p(contradiction) in both directions. With an equivalence by similarity the edges are its equivalent pairs.
pub(super) struct NumSemanticSets;

impl Scorer for NumSemanticSets {
    fn card(&self) -> &'static Card {
        &Card {
            name: "num_semantic_sets",
            needs: &[inputs::SAMPLES],
            cost: Cost::Samples,
            citation: "Lin et al. 2024 (arXiv 2305.19187), NumSet, as in LM-Polygraph NumSemSets",
            summary: "number of connected components of samples that agree in meaning",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        inputs::samples(case.record, 1)?;
        Ok(components(&edges(case)?) as f64)
    }
}

/// Which samples agree, `[samples, samples]`.
fn edges(case: &Case<'_>) -> Result<Array2<bool>, Missing> {
    if let Equivalence::Similar { by, threshold } = &case.setup.equivalence {
        return Ok(case.sample_similarity(by.as_ref())?.mapv(|similarity| similarity >= *threshold));
    }
    let judged = case.entailment()?;
    let agrees = judged.slice(s![1.., 1..]).mapv(|judgement| judgement.entailment > judgement.contradiction);
    Ok(Array2::from_shape_fn(agrees.raw_dim(), |(i, j)| agrees[[i, j]] && agrees[[j, i]]))
}

/// Number of connected components of a symmetric graph `[n, n]`.
fn components(edges: &Array2<bool>) -> usize {
    let mut unseen: Vec<usize> = (0..edges.nrows()).collect();
    let mut found = 0;
    while let Some(first) = unseen.pop() {
        let mut open = vec![first];
        while let Some(node) = open.pop() {
            open.extend(unseen.extract_if(.., |other| edges[[node, *other]]));
        }
        found += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cliques_a_chain_and_no_edges() {
        let graph = |n, edge: fn(usize, usize) -> bool| Array2::from_shape_fn((n, n), |(i, j)| i == j || edge(i.min(j), i.max(j)));
        assert_eq!(components(&graph(7, |i, j| (i < 3) == (j < 3))), 2);
        assert_eq!(components(&graph(6, |i, j| i + 1 == j)), 1);
        assert_eq!(components(&graph(5, |_, _| false)), 5);
        assert_eq!(components(&graph(5, |_, _| true)), 1);
    }
}
