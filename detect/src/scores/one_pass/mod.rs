//! Scores of one pass: what fell out of generating the response, or a question or two more to the model.

mod max_token_entropy;
mod mean_token_entropy;
mod msp;
mod perplexity;

use crate::scores::Scorer;

/// In the order they are listed.
pub(super) const SCORERS: &[&dyn Scorer] =
    &[&msp::Msp, &perplexity::Perplexity, &mean_token_entropy::MeanTokenEntropy, &max_token_entropy::MaxTokenEntropy];
