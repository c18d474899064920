//! Scores of one pass: what fell out of generating the response, or a question or two more to the model.

mod attention_score;
mod first_token_entropy;
mod max_token_entropy;
mod max_token_nll;
mod mean_token_entropy;
mod min_k;
mod msp;
mod p_true;
mod perplexity;
mod pmi;
mod rauq;
mod renyi;
mod self_certainty;
mod top2_margin;
mod verbalised;

use crate::scores::Scorer;

/// In the order they are listed.
pub(super) const SCORERS: &[&dyn Scorer] = &[
    &msp::Msp,
    &perplexity::Perplexity,
    &max_token_nll::MaxTokenNll,
    &mean_token_entropy::MeanTokenEntropy,
    &max_token_entropy::MaxTokenEntropy,
    &first_token_entropy::FirstTokenEntropy,
    &top2_margin::Top2Margin,
    &min_k::MinK,
    &self_certainty::SelfCertainty,
    &renyi::Renyi,
    &pmi::Pmi,
    &p_true::PTrue,
    &verbalised::Verbalised,
    &rauq::Rauq,
    &attention_score::AttentionScore,
];
