//! The record, the currency of detection, review and calibration: one answered prompt, one line of JSON.
//!
//! Log-probabilities and entropies are of the model's raw distribution (temperature 1, whole vocabulary, before truncation, penalties and
//! masks), in nats. Everything but `id`, `prompt` and `response` may be absent or null. Keys this crate does not know are ignored.

mod check;
mod inconsistency;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub use inconsistency::Inconsistency;

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
    /// Log-probability of every response token without the prompt before it, but what begins a text; where nothing does, the first is 0.
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

/// What the attention of a response's tokens comes to, reduced while decoding: of those from which another, or the end, was predicted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attention {
    /// RAUQ's uncertainty of every layer it looks at, from a third to two thirds of them; its weight of a token's own probability is 0.2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rauq: Vec<f64>,
    /// Attention score of every layer: mean over heads of the sum over response tokens of the logarithm of the attention to the token itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub score: Vec<f64>,
    /// Lookback ratio of every head, layer by layer: mean attention to a token of the prompt, over that plus the mean attention to a token of
    /// the response so far; mean over response tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lookback: Vec<f64>,
}

/// Hidden states of an answer after one layer, `[D]` each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hidden {
    /// The layer, from 0; states after its residual addition, before the model's final norm.
    pub layer: usize,
    /// Mean over the answer's tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean: Vec<f32>,
    /// At the answer's last token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last: Vec<f32>,
    /// At the last token but one; the prompt's last, where the answer has but one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before_last: Vec<f32>,
    /// At the prompt's last token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompt: Vec<f32>,
}

/// Answers to questions about a response. Probabilities, 0 to 1.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Probability of the word True, with or without a space before it, when asked whether the response is.
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
    /// How it was varied: a name of [`contrast::registry`](crate::contrast::registry).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The sampling temperature of its answers, where that is what was varied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Its answers.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
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
}

/// Reads a list, null meaning an empty one.
fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(input)?.unwrap_or_default())
}
