//! TokenSAR: the log-probabilities of the tokens that matter.

use super::relevance::{self, TOKEN_TEXTS};
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// Σ_t R̃_t (−ln p_t) over the response's tokens, R̃_t the share of token t in what the answer loses when one token is left out. Similarity as
/// the setup says; the prompt stands before the answer, as published.
pub(super) struct TokenSar;

impl Scorer for TokenSar {
    fn card(&self) -> &'static Card {
        &Card {
            name: "token_sar",
            needs: &[inputs::TOKEN_LOGPROBS, TOKEN_TEXTS],
            cost: Cost::OnePass,
            citation: "Duan et al. 2024 (arXiv 2307.01379), tokenSAR, as in LM-Polygraph TokenSAR",
            summary: "negative log-probability of the tokens, weighted by how much the meaning changes without each, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let logprobs = inputs::logprobs(case.record)?;
        let texts = case.record.token_texts.as_deref().ok_or(Missing::Field(TOKEN_TEXTS))?;
        relevance::token_sar(case, texts, logprobs)
    }
}
