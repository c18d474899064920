//! What the scores read from a record, or the name of what is not there.

use crate::record::{Record, Sample};

use super::Missing;

pub(in crate::scores) const TOKEN_LOGPROBS: &str = "token_logprobs";
pub(in crate::scores) const TOKEN_ENTROPIES: &str = "token_entropies";
pub(in crate::scores) const TOP_LOGPROBS: &str = "top_logprobs";
pub(in crate::scores) const TOKEN_SELF_CERTAINTIES: &str = "token_self_certainties";
pub(in crate::scores) const TOKEN_RENYI: &str = "token_renyi";
pub(in crate::scores) const UNCONDITIONAL_LOGPROBS: &str = "unconditional_logprobs";
pub(in crate::scores) const RAUQ: &str = "attention.rauq";
pub(in crate::scores) const ATTENTION_SCORE: &str = "attention.score";
pub(in crate::scores) const SAMPLES: &str = "samples";
pub(in crate::scores) const SAMPLE_LOGPROBS: &str = "samples[].token_logprobs";
pub(in crate::scores) const SAMPLE_HIDDEN: &str = "samples[].hidden";
pub(in crate::scores) const SUPPORT: &str = "judged.support";
pub(in crate::scores) const P_TRUE: &str = "judged.p_true";
pub(in crate::scores) const VERBALISED: &str = "judged.verbalised";
pub(in crate::scores) const P_TRUE_SAMPLING: &str = "judged.p_true_sampling";
pub(in crate::scores) const VARIANTS: &str = "variants";

/// Log-probabilities of the response's tokens, at least one.
pub(in crate::scores) fn logprobs(record: &Record) -> Result<&[f64], Missing> {
    entries(record.token_logprobs.as_deref(), TOKEN_LOGPROBS)
}

/// Entropies at the response's tokens, at least one.
pub(in crate::scores) fn entropies(record: &Record) -> Result<&[f64], Missing> {
    entries(record.token_entropies.as_deref(), TOKEN_ENTROPIES)
}

/// The likeliest alternatives at the response's tokens, at least one token.
pub(in crate::scores) fn alternatives(record: &Record) -> Result<&[Vec<(i64, f64)>], Missing> {
    entries(record.top_logprobs.as_deref(), TOP_LOGPROBS)
}

/// Self-certainties at the response's tokens, at least one.
pub(in crate::scores) fn self_certainties(record: &Record) -> Result<&[f64], Missing> {
    entries(record.token_self_certainties.as_deref(), TOKEN_SELF_CERTAINTIES)
}

/// Rényi divergences at the response's tokens, at least one.
pub(in crate::scores) fn renyi(record: &Record) -> Result<&[f64], Missing> {
    entries(record.token_renyi.as_deref(), TOKEN_RENYI)
}

/// Log-probabilities of the response's tokens without the prompt, at least one.
pub(in crate::scores) fn unconditional_logprobs(record: &Record) -> Result<&[f64], Missing> {
    entries(record.unconditional_logprobs.as_deref(), UNCONDITIONAL_LOGPROBS)
}

/// RAUQ's uncertainty of every layer it looks at, at least one.
pub(in crate::scores) fn rauq(record: &Record) -> Result<&[f64], Missing> {
    entries(record.attention.as_ref().map(|attention| attention.rauq.as_slice()), RAUQ)
}

/// Attention score of every layer, at least one.
pub(in crate::scores) fn attention_score(record: &Record) -> Result<&[f64], Missing> {
    entries(record.attention.as_ref().map(|attention| attention.score.as_slice()), ATTENTION_SCORE)
}

/// A value of `judged`, within 0 to 1.
pub(in crate::scores) fn probability(value: Option<f64>, name: &'static str) -> Result<f64, Missing> {
    let value = value.ok_or(Missing::Field(name))?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(Missing::Probability(name)) }
}

/// The samples, if there are at least `needed`.
pub(in crate::scores) fn samples(record: &Record, needed: usize) -> Result<&[Sample], Missing> {
    let found = record.samples.len();
    if found < needed { Err(Missing::Samples { needed, found }) } else { Ok(&record.samples) }
}

/// Mean log-probability of the tokens of every sample.
pub(in crate::scores) fn mean_sample_logprobs(samples: &[Sample]) -> Result<Vec<f64>, Missing> {
    sample_logprobs(samples).map(|logprobs| logprobs.map(mean)).collect()
}

/// Log-probability of every sample as a whole: the sum over its tokens.
pub(in crate::scores) fn sum_sample_logprobs(samples: &[Sample]) -> Result<Vec<f64>, Missing> {
    sample_logprobs(samples).map(|logprobs| logprobs.map(|values| values.iter().sum())).collect()
}

/// Log-probabilities of every sample's tokens, at least one each.
fn sample_logprobs(samples: &[Sample]) -> impl Iterator<Item = Result<&[f64], Missing>> {
    samples.iter().enumerate().map(|(index, sample)| match sample.token_logprobs.as_deref() {
        None | Some([]) => Err(Missing::SampleField { field: TOKEN_LOGPROBS, index }),
        Some(logprobs) => Ok(logprobs),
    })
}

/// Arithmetic mean of at least one value.
pub(in crate::scores) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn entries<'a, T>(values: Option<&'a [T]>, name: &'static str) -> Result<&'a [T], Missing> {
    match values {
        None => Err(Missing::Field(name)),
        Some([]) => Err(Missing::Entries(name)),
        Some(values) => Ok(values),
    }
}
