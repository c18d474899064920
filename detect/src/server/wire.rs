//! The JSON of an answer, in the three shapes servers send it: chat, completion as OpenAI has it (parallel lists), and completion as llama.cpp
//! has it (a list of tokens, as in a chat). Fields that are not read may be anything.

use std::collections::BTreeMap;

use serde::Deserialize;

/// An answer of either endpoint.
#[derive(Debug, Deserialize)]
pub(super) struct Body {
    pub(super) choices: Vec<Choice>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    #[serde(default)]
    pub(super) index: usize,
    /// Of a completion.
    pub(super) text: Option<String>,
    /// Of a chat.
    pub(super) message: Option<Message>,
    pub(super) logprobs: Option<Logprobs>,
    pub(super) finish_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) content: Option<String>,
}

/// Of a token list or of parallel lists; both cannot be told apart by a tag.
#[derive(Debug, Deserialize)]
pub(super) struct Logprobs {
    pub(super) content: Option<Vec<Token>>,
    pub(super) tokens: Option<Vec<String>>,
    pub(super) token_logprobs: Option<Vec<Option<f64>>>,
    pub(super) top_logprobs: Option<Vec<Option<Alternatives>>>,
}

/// Log-probabilities of alternatives by their text; null for minus infinity.
type Alternatives = BTreeMap<String, Option<f64>>;

/// A token and, where it is one of the answer, its alternatives.
#[derive(Debug, Deserialize)]
pub(super) struct Token {
    pub(super) token: String,
    pub(super) logprob: Option<f64>,
    pub(super) bytes: Option<Vec<u8>>,
    /// Only some servers tell.
    pub(super) id: Option<i64>,
    pub(super) top_logprobs: Option<Vec<Token>>,
}

impl Choice {
    /// The answer's text; empty where there is none.
    pub(super) fn content(&self) -> &str {
        let said = self.message.as_ref().and_then(|message| message.content.as_deref());
        said.or(self.text.as_deref()).unwrap_or_default()
    }
}

impl Logprobs {
    /// The tokens, whichever shape they came in; `None` where there is neither list.
    ///
    /// # Errors
    /// Parallel lists of unequal length.
    pub(super) fn into_tokens(self) -> Result<Option<Vec<Token>>, String> {
        if let Some(content) = self.content {
            return Ok(Some(content));
        }
        let (Some(tokens), Some(logprobs)) = (self.tokens, self.token_logprobs) else { return Ok(None) };
        let tops = self.top_logprobs.unwrap_or_else(|| tokens.iter().map(|_| None).collect());
        if tokens.len() != logprobs.len() || tokens.len() != tops.len() {
            return Err(format!("{} tokens, {} log-probabilities, {} lists of alternatives", tokens.len(), logprobs.len(), tops.len()));
        }
        Ok(Some(tokens.into_iter().zip(logprobs).zip(tops).map(|((token, logprob), top)| Token::plain(token, logprob, top)).collect()))
    }
}

impl Token {
    /// From parallel lists; alternatives in order of probability, which a JSON object does not keep.
    fn plain(token: String, logprob: Option<f64>, top: Option<Alternatives>) -> Self {
        let bare = |token, logprob| Self { token, logprob, bytes: None, id: None, top_logprobs: None };
        let mut alternatives: Vec<Self> = top.unwrap_or_default().into_iter().map(|(token, logprob)| bare(token, logprob)).collect();
        alternatives.sort_by(|a, b| b.logprob.unwrap_or(f64::NEG_INFINITY).total_cmp(&a.logprob.unwrap_or(f64::NEG_INFINITY)));
        Self { top_logprobs: Some(alternatives), ..bare(token, logprob) }
    }
}
