//! What the scores read from a record, or the name of what is not there.

use crate::record::{Record, Sample};

use super::Missing;

pub(in crate::scores) const TOKEN_LOGPROBS: &str = "token_logprobs";
pub(in crate::scores) const TOKEN_ENTROPIES: &str = "token_entropies";
pub(in crate::scores) const SAMPLES: &str = "samples";
pub(in crate::scores) const SAMPLE_LOGPROBS: &str = "samples[].token_logprobs";
pub(in crate::scores) const SAMPLE_HIDDEN: &str = "samples[].hidden";
pub(in crate::scores) const SUPPORT: &str = "judged.support";
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

fn entries<'a>(values: Option<&'a [f64]>, name: &'static str) -> Result<&'a [f64], Missing> {
    match values {
        None => Err(Missing::Field(name)),
        Some([]) => Err(Missing::Entries(name)),
        Some(values) => Ok(values),
    }
}
