//! Scores of samples that are compared by meaning: clusters of equivalent answers, similarity, entailment.

mod bsdetector;
mod ccp;
mod cocoa;
mod discrete_semantic_entropy;
mod graph_nli;
mod kernel_language_entropy;
mod log_sum_exp;
mod luq;
mod num_semantic_sets;
mod relevance;
mod sar;
mod selfcheck_nli;
mod semantic_density;
mod semantic_entropy;
mod semantic_entropy_mc;
mod semantic_entropy_unique;
mod sentence_sar;
mod token_sar;

use crate::scores::Scorer;

/// In the order they are listed.
pub(super) const SCORERS: &[&dyn Scorer] = &[
    &discrete_semantic_entropy::DiscreteSemanticEntropy,
    &semantic_entropy::SemanticEntropy,
    &semantic_entropy_mc::SemanticEntropyMc,
    &semantic_entropy_unique::SemanticEntropyUnique,
    &num_semantic_sets::NumSemanticSets,
    &kernel_language_entropy::KernelLanguageEntropy,
    &graph_nli::DEGMAT,
    &graph_nli::ECCENTRICITY,
    &graph_nli::EIGVAL_LAPLACIAN,
    &token_sar::TokenSar,
    &sentence_sar::SentenceSar,
    &sar::Sar,
    &cocoa::MSP,
    &cocoa::PPL,
    &cocoa::MTE,
    &semantic_density::SemanticDensity,
    &luq::Luq,
    &selfcheck_nli::SelfcheckNli,
    &ccp::Ccp,
    &bsdetector::BsDetector,
];
