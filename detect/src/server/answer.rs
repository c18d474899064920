//! An answer of a server, checked and brought into the record's terms.

use serde_json::Value;

use super::align::{align, texts_of};
use super::wire::{Body, Choice, Token};
use crate::record::{Record, Sample};

/// Below this a log-probability stands for minus infinity, which JSON has not (llama.cpp sends the lowest float, vLLM -9999).
const IMPOSSIBLE: f64 = -9998.0;

/// One answer. Lists have one entry a token; the end of the text is no token of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// What was said.
    pub text: String,
    /// Why it ended, in the server's words.
    pub finish_reason: Option<String>,
    /// What is known of its tokens; `None` where the server gave no log-probabilities.
    pub trace: Option<Trace>,
}

/// What is known of an answer's tokens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// Ids, where the server tells them.
    pub ids: Option<Vec<i64>>,
    /// Log-probability of every token.
    pub logprobs: Vec<f64>,
    /// Text of every token; `None` where the tokens do not make up the text.
    pub texts: Option<Vec<String>>,
    /// The likeliest alternatives: (id or -1, log-probability), in order.
    pub top: Vec<Vec<(i64, f64)>>,
    /// Their texts.
    pub top_texts: Vec<Vec<String>>,
}

impl Answer {
    /// All answers of a server, by their index.
    ///
    /// # Errors
    /// Says in what the JSON differs from an answer.
    pub fn all(body: Value) -> Result<Vec<Self>, String> {
        let mut body: Body = serde_json::from_value(body).map_err(|error| error.to_string())?;
        body.choices.sort_by_key(|choice| choice.index);
        body.choices.into_iter().map(Self::of).collect()
    }

    fn of(mut choice: Choice) -> Result<Self, String> {
        let tokens = choice.logprobs.take().map_or(Ok(None), super::wire::Logprobs::into_tokens)?;
        let text = choice.content().to_owned();
        let trace = tokens.filter(|tokens| !tokens.is_empty() || text.is_empty()).map(|tokens| Trace::of(&text, tokens)).transpose()?;
        Ok(Self { text, finish_reason: choice.finish_reason, trace })
    }

    /// The answer as a sample.
    pub fn into_sample(self) -> Sample {
        let trace = self.trace.map(|trace| (trace.ids, trace.texts, trace.logprobs));
        let (tokens, token_texts, token_logprobs) = trace.map_or((None, None, None), |(ids, texts, logprobs)| (ids, texts, Some(logprobs)));
        Sample { text: self.text, tokens, token_texts, token_logprobs, ..Sample::default() }
    }

    /// Makes the answer the response of a record.
    pub fn respond(self, record: &mut Record) {
        record.response = self.text;
        if let Some(trace) = self.trace {
            record.tokens = trace.ids;
            record.token_texts = trace.texts;
            record.token_logprobs = Some(trace.logprobs);
            record.top_logprobs = Some(trace.top);
            record.top_texts = Some(trace.top_texts);
        }
    }
}

impl Trace {
    fn of(text: &str, tokens: Vec<Token>) -> Result<Self, String> {
        let aligned = align(text, &texts(&tokens));
        let (range, texts) = aligned.map_or((0..tokens.len(), None), |aligned| (aligned.tokens, Some(aligned.texts)));
        let mut trace = Self { ids: tokens.iter().map(|token| token.id).collect(), texts, ..Self::default() };
        trace.ids = trace.ids.map(|ids| ids[range.clone()].to_vec());
        for (index, token) in tokens.into_iter().enumerate().skip(range.start).take(range.len()) {
            trace.logprobs.push(token.logprob.ok_or_else(|| format!("token {index} has no log-probability"))?);
            let (top, top_texts) = alternatives(token.top_logprobs.unwrap_or_default());
            trace.top.push(top);
            trace.top_texts.push(top_texts);
        }
        Ok(trace)
    }
}

/// Texts of tokens: from their bytes where all have them, which tell letters that are spread over several tokens.
fn texts(tokens: &[Token]) -> Vec<String> {
    let bytes: Option<Vec<&[u8]>> = tokens.iter().map(|token| token.bytes.as_deref()).collect();
    bytes.map_or_else(|| tokens.iter().map(|token| token.token.clone()).collect(), |bytes| texts_of(&bytes))
}

/// Alternatives that have a probability.
fn alternatives(tokens: Vec<Token>) -> (Vec<(i64, f64)>, Vec<String>) {
    let possible = |token: Token| Some((token.id.unwrap_or(-1), token.logprob.filter(|&logprob| logprob > IMPOSSIBLE)?, token.token));
    tokens.into_iter().filter_map(possible).map(|(id, logprob, text)| ((id, logprob), text)).unzip()
}
