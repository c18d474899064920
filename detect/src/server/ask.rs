//! What is asked of a model at a server, and the request body it becomes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::ServerError;
use super::kind::Kind;

/// One of the two paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `/chat/completions`: the server puts the messages into the model's template.
    Chat,
    /// `/completions`: the prompt as it stands.
    Completion,
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// What the model is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A text: the prompt of a completion, or a user's only message.
    Text(String),
    /// A chat.
    Chat(Vec<Turn>),
}

/// A question and how it is to be answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// What the model is given.
    pub input: Input,
    /// Answers wanted, at least one.
    pub answers: usize,
    /// Divides the logits; 0 takes the most probable token.
    pub temperature: f64,
    /// Longest answer, tokens.
    pub max_tokens: usize,
    /// Seed of the first answer; answers that are asked for one by one count on from it.
    pub seed: u64,
    /// Alternatives wanted at every token, at least one; `None` for no log-probabilities at all.
    pub top_logprobs: Option<usize>,
}

impl Turn {
    /// A user's message.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: "user".to_owned(), content: content.into() }
    }
}

impl Endpoint {
    /// The path after the base address.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "chat/completions",
            Self::Completion => "completions",
        }
    }
}

impl Ask {
    /// The request. `extra` goes over everything else.
    ///
    /// # Errors
    /// [`ServerError::Messages`] for a chat to a completion endpoint.
    pub(super) fn body(&self, model: &str, endpoint: Endpoint, kind: Kind, extra: &Map<String, Value>) -> Result<Value, ServerError> {
        let mut body = kind.neutral();
        body.extend(self.settings(model));
        body.extend(self.given(endpoint)?);
        body.extend(self.wanted(endpoint));
        body.extend(extra.clone());
        Ok(Value::Object(body))
    }

    /// Most bytes an answer to this may have: half a kilobyte for every alternative of every token, and room for the rest.
    pub(super) fn limit(&self) -> u64 {
        let entries = self.answers.saturating_mul(self.max_tokens).saturating_mul(1 + self.top_logprobs.unwrap_or(0));
        (1 << 20) + u64::try_from(entries).unwrap_or(u64::MAX).saturating_mul(512).min(1 << 30)
    }

    fn settings(&self, model: &str) -> Map<String, Value> {
        let mut settings = object(json!({
            "model": model, "max_tokens": self.max_tokens, "temperature": self.temperature, "top_p": 1.0, "seed": self.seed, "stream": false,
        }));
        if self.answers > 1 {
            settings.insert("n".to_owned(), self.answers.into());
        }
        settings
    }

    fn given(&self, endpoint: Endpoint) -> Result<Map<String, Value>, ServerError> {
        match (endpoint, &self.input) {
            (Endpoint::Chat, Input::Text(text)) => Ok(object(json!({ "messages": [Turn::user(text)] }))),
            (Endpoint::Chat, Input::Chat(turns)) => Ok(object(json!({ "messages": turns }))),
            (Endpoint::Completion, Input::Text(text)) => Ok(object(json!({ "prompt": text }))),
            (Endpoint::Completion, Input::Chat(_)) => Err(ServerError::Messages),
        }
    }

    fn wanted(&self, endpoint: Endpoint) -> Map<String, Value> {
        match (self.top_logprobs, endpoint) {
            (None, _) => Map::new(),
            (Some(top), Endpoint::Chat) => object(json!({ "logprobs": true, "top_logprobs": top })),
            (Some(top), Endpoint::Completion) => object(json!({ "logprobs": top })),
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(input: Input) -> Ask {
        Ask { input, answers: 3, temperature: 1.0, max_tokens: 8, seed: 7, top_logprobs: Some(5) }
    }

    #[test]
    fn both_endpoints_get_their_own_fields() {
        let text = ask(Input::Text("Why?".into()));
        let chat = text.body("m", Endpoint::Chat, Kind::Unknown, &Map::new()).expect("a text goes everywhere");
        let expected = json!({ "model": "m", "messages": [{ "role": "user", "content": "Why?" }], "n": 3, "seed": 7, "temperature": 1.0,
            "top_p": 1.0, "max_tokens": 8, "logprobs": true, "top_logprobs": 5, "stream": false });
        assert_eq!(chat, expected);
        let completion = text.body("m", Endpoint::Completion, Kind::LlamaCpp, &object(json!({ "min_p": 0.2 }))).expect("as above");
        let expected = json!({ "model": "m", "prompt": "Why?", "n": 3, "seed": 7, "temperature": 1.0, "top_p": 1.0, "max_tokens": 8,
            "logprobs": 5, "stream": false, "top_k": 0, "min_p": 0.2 });
        assert_eq!(completion, expected);
        let turns = ask(Input::Chat(vec![Turn::user("Why?")]));
        assert_eq!(turns.body("m", Endpoint::Completion, Kind::Unknown, &Map::new()), Err(ServerError::Messages));
    }

    #[test]
    fn the_room_for_an_answer_grows_with_the_question_and_ends() {
        let small = ask(Input::Text(String::new()));
        assert!(small.limit() > 3 * 8 * 6 * 100 && small.limit() < 2 << 20);
        assert_eq!(Ask { max_tokens: usize::MAX, ..small }.limit(), (1 << 20) + (1 << 30));
    }
}
