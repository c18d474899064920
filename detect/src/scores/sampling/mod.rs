//! Scores of several samples that need no second model.

pub(in crate::scores) mod degmat;
pub(in crate::scores) mod eccentricity;
mod eigenscore;
mod eigenscore_lmp;
pub(in crate::scores) mod eigval_laplacian;
mod exact_match_rate;
pub(in crate::scores) mod graph;
mod length_normalised_entropy;
mod lexical_similarity;
mod lexical_similarity_bleu;
mod lexical_similarity_rouge_1;
mod mc_sequence_entropy;
mod p_true_sampling;
mod selfcheck_ngram;
mod selfcheck_prompt;
mod variant_agreement;
mod variant_entropy;
mod within_across_gap;
mod wordings;

use crate::scores::Scorer;
use selfcheck_ngram::SelfcheckNgram;
pub use selfcheck_ngram::sentence_surprises;

/// In the order they are listed.
pub(super) const SCORERS: &[&dyn Scorer] = &[
    &exact_match_rate::ExactMatchRate,
    &mc_sequence_entropy::McSequenceEntropy,
    &length_normalised_entropy::LengthNormalisedEntropy,
    &lexical_similarity::LexicalSimilarity,
    &lexical_similarity_rouge_1::LexicalSimilarityRouge1,
    &lexical_similarity_bleu::LexicalSimilarityBleu,
    &degmat::DegMat,
    &eccentricity::Eccentricity,
    &eigval_laplacian::EigvalLaplacian,
    &SelfcheckNgram::<1, false>,
    &SelfcheckNgram::<1, true>,
    &SelfcheckNgram::<2, false>,
    &SelfcheckNgram::<2, true>,
    &SelfcheckNgram::<3, false>,
    &SelfcheckNgram::<3, true>,
    &SelfcheckNgram::<4, false>,
    &SelfcheckNgram::<4, true>,
    &SelfcheckNgram::<5, false>,
    &SelfcheckNgram::<5, true>,
    &selfcheck_prompt::SelfcheckPrompt,
    &eigenscore::EigenScore,
    &eigenscore_lmp::EigenScoreLmp,
    &p_true_sampling::PTrueSampling,
    &variant_agreement::VariantAgreement,
    &variant_entropy::VariantEntropy,
    &within_across_gap::WithinAcrossGap,
];
