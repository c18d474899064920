//! Scores of samples that are compared by meaning: clusters of equivalent answers, entailment.

mod discrete_semantic_entropy;
mod semantic_entropy;

use crate::scores::Scorer;

/// In the order they are listed.
pub(super) const SCORERS: &[&dyn Scorer] = &[&discrete_semantic_entropy::DiscreteSemanticEntropy, &semantic_entropy::SemanticEntropy];
