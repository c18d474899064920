//! The record, the currency of detection, review and calibration: one answered prompt, one line of JSON.
//!
//! Log-probabilities and entropies are of the model's raw distribution (temperature 1, whole vocabulary, before truncation, penalties and
//! masks), in nats. Everything but `id`, `prompt` and `response` may be absent or null. Keys this crate does not know are ignored.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// How far above zero a log-probability, or below zero an entropy, may stray by rounding in the model that wrote it, nats.
pub const TOLERANCE: f64 = 1e-3;

/// A prompt, the response under judgement and the traces the model left.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Names the record; not empty.
    pub id: String,
    /// What the model was asked.
    pub prompt: String,
    /// What it answered: the text that is judged.
    pub response: String,
    /// Token ids of the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<i64>>,
    /// Log-probability of every response token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_logprobs: Option<Vec<f64>>,
    /// Entropy of the distribution that every response token was drawn from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_entropies: Option<Vec<f64>>,
    /// The likeliest alternatives at every response token: (token id, log-probability).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<Vec<Vec<(i64, f64)>>>,
    /// Text of every response token; joined they are the response as it was decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_texts: Option<Vec<String>>,
    /// Texts of the entries of `top_logprobs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_texts: Option<Vec<Vec<String>>>,
    /// Self-certainty of every distribution: Kullback-Leibler divergence of the uniform distribution from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_self_certainties: Option<Vec<f64>>,
    /// Rényi divergence of every distribution, softened by temperature 2, from the uniform one; order 1/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_renyi: Option<Vec<f64>>,
    /// Log-probability of every response token without the prompt before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconditional_logprobs: Option<Vec<f64>>,
    /// What the attention of the response's tokens comes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention: Option<Attention>,
    /// Hidden states of the response, of one or several layers.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<Hidden>,
    /// What the model, or another, says of the response when asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Judged>,
    /// Further answers to the same prompt, drawn independently.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
    /// Answers to other wordings of the prompt.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
    /// Answers that are known to be right.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub reference: Vec<String>,
    /// 1 = the response is wrong, 0 = it is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<u8>,
    /// Where the record comes from: model, generation settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Value>,
}

/// One more answer to a prompt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The answer.
    pub text: String,
    /// Its token ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<i64>>,
    /// Log-probability of every token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_logprobs: Option<Vec<f64>>,
    /// Entropy at every token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_entropies: Option<Vec<f64>>,
    /// Text of every token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_texts: Option<Vec<String>>,
    /// Hidden states, of one or several layers.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<Hidden>,
}

/// What the attention of a response's tokens comes to, reduced while decoding.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attention {
    /// RAUQ's uncertainty of every layer it looks at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rauq: Vec<f64>,
    /// Attention score of every layer: mean over heads of the sum over tokens of the logarithm of the attention to the token itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub score: Vec<f64>,
    /// Lookback ratio of every head, layer by layer: attention to the prompt over all attention, mean over tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lookback: Vec<f64>,
}

/// Hidden states of an answer after one layer, `[D]` each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hidden {
    /// The layer, from 0; states after its residual addition.
    pub layer: usize,
    /// Mean over the answer's tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean: Vec<f32>,
    /// At the answer's last token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last: Vec<f32>,
    /// At the last token but one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before_last: Vec<f32>,
    /// At the prompt's last token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompt: Vec<f32>,
}

/// Answers to questions about a response. Probabilities, 0 to 1.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Probability of True when asked whether the response is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_true: Option<f64>,
    /// The same with the samples shown beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_true_sampling: Option<f64>,
    /// The confidence it names when asked for a number; null where it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verbalised: Option<f64>,
    /// Of every sentence of the response and every sample, `[sentences][samples]`: 0 supported, 1 not, 0.5 neither said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub support: Option<Vec<Vec<f64>>>,
}

/// Another wording of the prompt, with the answers it drew.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// The other wording.
    pub prompt: String,
    /// Its answers.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
}

/// What makes a record contradict itself.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Inconsistency {
    /// A record without a name cannot be reported on.
    #[error("`id` is empty")]
    NoId,
    /// Two per-token lists of one answer differ in length.
    #[error("{first} has {first_len} entries but {second} has {second_len}; both are one entry a token")]
    Lengths {
        /// One list.
        first: String,
        /// Its length.
        first_len: usize,
        /// The other.
        second: String,
        /// Its length.
        second_len: usize,
    },
    /// NaN or infinite.
    #[error("{field}[{index}] is {value}, not a finite number")]
    NotFinite {
        /// The list.
        field: String,
        /// Where in it.
        index: usize,
        /// What stands there.
        value: f64,
    },
    /// A probability above one.
    #[error("{field}[{index}] is {value}: a log-probability is at most 0")]
    PositiveLogprob {
        /// The list.
        field: String,
        /// Where in it.
        index: usize,
        /// What stands there.
        value: f64,
    },
    /// A negative entropy.
    #[error("{field}[{index}] is {value}: an entropy is at least 0")]
    NegativeEntropy {
        /// The list.
        field: String,
        /// Where in it.
        index: usize,
        /// What stands there.
        value: f64,
    },
    /// A label that is neither right nor wrong.
    #[error("`label` is {0}; it is 1 for a wrong response and 0 for a right one")]
    Label(u8),
}

impl Record {
    /// Whether the response is labelled wrong; `None` without a label.
    pub fn wrong(&self) -> Option<bool> {
        self.label.map(|label| label == 1)
    }

    /// What the record has in common with others of the same value, as JSON: a field of `source`, neither absent nor null.
    pub fn group(&self, field: &str) -> Option<String> {
        self.source.as_ref()?.get(field).filter(|value| !value.is_null()).map(Value::to_string)
    }

    /// The texts of the samples, in order.
    pub fn sample_texts(&self) -> Vec<&str> {
        self.samples.iter().map(|sample| sample.text.as_str()).collect()
    }

    /// Checks what the types cannot: lists of one answer agree in length, numbers are finite, log-probabilities are at most and entropies at
    /// least 0 (within [`TOLERANCE`]), the label is 0 or 1.
    ///
    /// # Errors
    /// The first [`Inconsistency`], naming the field and the place.
    pub fn check(&self) -> Result<(), Inconsistency> {
        if self.id.is_empty() {
            return Err(Inconsistency::NoId);
        }
        if let Some(label) = self.label.filter(|&label| label > 1) {
            return Err(Inconsistency::Label(label));
        }
        self.traces().check("")?;
        check_samples(&self.samples, "")?;
        self.variants.iter().enumerate().try_for_each(|(index, variant)| check_samples(&variant.samples, &format!("variants[{index}].")))
    }

    fn traces(&self) -> Traces<'_> {
        Traces {
            tokens: self.tokens.as_deref(),
            logprobs: self.token_logprobs.as_deref(),
            entropies: self.token_entropies.as_deref(),
            alternatives: self.top_logprobs.as_deref(),
        }
    }
}

/// The per-token lists of one answer.
struct Traces<'a> {
    tokens: Option<&'a [i64]>,
    logprobs: Option<&'a [f64]>,
    entropies: Option<&'a [f64]>,
    alternatives: Option<&'a [Vec<(i64, f64)>]>,
}

impl Traces<'_> {
    fn check(&self, place: &str) -> Result<(), Inconsistency> {
        self.check_lengths(place)?;
        check_logprobs(&format!("{place}token_logprobs"), self.logprobs.unwrap_or_default().iter().copied())?;
        check_entropies(&format!("{place}token_entropies"), self.entropies.unwrap_or_default())?;
        for (index, alternatives) in self.alternatives.unwrap_or_default().iter().enumerate() {
            check_logprobs(&format!("{place}top_logprobs[{index}]"), alternatives.iter().map(|&(_, logprob)| logprob))?;
        }
        Ok(())
    }

    fn check_lengths(&self, place: &str) -> Result<(), Inconsistency> {
        let present: Vec<(&str, usize)> = [
            ("tokens", self.tokens.map(<[_]>::len)),
            ("token_logprobs", self.logprobs.map(<[_]>::len)),
            ("token_entropies", self.entropies.map(<[_]>::len)),
            ("top_logprobs", self.alternatives.map(<[_]>::len)),
        ]
        .into_iter()
        .filter_map(|(name, len)| Some((name, len?)))
        .collect();
        match present.windows(2).find(|pair| pair[0].1 != pair[1].1) {
            None => Ok(()),
            Some(pair) => Err(Inconsistency::Lengths {
                first: format!("{place}{}", pair[0].0),
                first_len: pair[0].1,
                second: format!("{place}{}", pair[1].0),
                second_len: pair[1].1,
            }),
        }
    }
}

fn check_samples(samples: &[Sample], place: &str) -> Result<(), Inconsistency> {
    samples.iter().enumerate().try_for_each(|(index, sample)| {
        let traces = Traces {
            tokens: sample.tokens.as_deref(),
            logprobs: sample.token_logprobs.as_deref(),
            entropies: sample.token_entropies.as_deref(),
            alternatives: None,
        };
        traces.check(&format!("{place}samples[{index}]."))
    })
}

fn check_logprobs(field: &str, logprobs: impl Iterator<Item = f64>) -> Result<(), Inconsistency> {
    for (index, value) in logprobs.enumerate() {
        check_finite(field, index, value)?;
        if value > TOLERANCE {
            return Err(Inconsistency::PositiveLogprob { field: field.to_owned(), index, value });
        }
    }
    Ok(())
}

fn check_entropies(field: &str, entropies: &[f64]) -> Result<(), Inconsistency> {
    for (index, &value) in entropies.iter().enumerate() {
        check_finite(field, index, value)?;
        if value < -TOLERANCE {
            return Err(Inconsistency::NegativeEntropy { field: field.to_owned(), index, value });
        }
    }
    Ok(())
}

fn check_finite(field: &str, index: usize, value: f64) -> Result<(), Inconsistency> {
    if value.is_finite() { Ok(()) } else { Err(Inconsistency::NotFinite { field: field.to_owned(), index, value }) }
}

/// Reads a list, null meaning an empty one.
fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(input)?.unwrap_or_default())
}
