//! How much each token of an answer matters to its meaning, which is what SAR weighs log-probabilities by.

use crate::scores::{Case, Missing};

pub(super) const TOKEN_TEXTS: &str = "token_texts";
const UNEQUAL: &str = "token_texts of as many entries as token_logprobs";

/// TokenSAR of one answer: Σ_t R̃_t (−ln p_t), with R_t = 1 − similarity of the answer to itself without token t (the prompt and a space
/// before both), and R̃ = R / Σ R. Where no token matters (an answer without words) all weigh alike.
pub(super) fn token_sar(case: &Case<'_>, texts: &[String], logprobs: &[f64]) -> Result<f64, Missing> {
    if texts.len() != logprobs.len() {
        return Err(Missing::Field(UNEQUAL));
    }
    let relevance = relevance(case, texts)?;
    let total: f64 = relevance.iter().sum();
    let weight = |r: f64| if total > 0.0 { r / total } else { 1.0 / texts.len() as f64 };
    Ok(relevance.into_iter().zip(logprobs).map(|(r, logprob)| weight(r) * -logprob).sum())
}

/// 1 − similarity of the answer to itself without each of its tokens.
fn relevance(case: &Case<'_>, texts: &[String]) -> Result<Vec<f64>, Missing> {
    let before = |answer: String| format!("{} {answer}", case.record.prompt);
    let without = |t: usize| before(texts.iter().enumerate().filter(|&(i, _)| i != t).map(|(_, text)| text.as_str()).collect());
    let cut: Vec<String> = (0..texts.len()).map(without).collect();
    let cut: Vec<&str> = cut.iter().map(String::as_str).collect();
    let similarity = case.setup.similarity.to_each(&before(texts.concat()), &cut)?;
    Ok(similarity.into_iter().map(|similarity| (1.0 - similarity).max(0.0)).collect())
}
