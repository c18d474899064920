//! Which server answers, and what is known of it: how its own sampling defaults are switched off, and what its log-probabilities are of.
//!
//! A sample is meant to be drawn from the model's own distribution. llama.cpp keeps 40 tokens and a mass of 0.95 unless told not to, vLLM what
//! the model's `generation_config.json` says; `top_p` 1 is sent to every server, the rest only to those that are known to take it.

use serde_json::{Map, Value, json};

/// A server, by the owner that it names in its list of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// llama.cpp's `llama-server`.
    LlamaCpp,
    /// The server of llama-cpp-python.
    LlamaCppPython,
    /// vLLM.
    Vllm,
    /// Any other.
    Unknown,
}

impl Kind {
    /// The kind that an answer to `GET /models` speaks of.
    pub fn of(models: &Value) -> Self {
        let owner = models.pointer("/data/0/owned_by").and_then(Value::as_str).unwrap_or_default();
        match owner {
            "llamacpp" => Self::LlamaCpp,
            "me" => Self::LlamaCppPython,
            "vllm" => Self::Vllm,
            _ => Self::Unknown,
        }
    }

    /// Its name in `source`.
    pub fn name(self) -> &'static str {
        match self {
            Self::LlamaCpp => "llama.cpp",
            Self::LlamaCppPython => "llama-cpp-python",
            Self::Vllm => "vLLM",
            Self::Unknown => "unknown",
        }
    }

    /// What its log-probabilities are of.
    pub fn logprobs(self) -> &'static str {
        match self {
            Self::LlamaCpp | Self::LlamaCppPython => "of the raw distribution, before temperature and truncation",
            Self::Vllm => "of the raw distribution, unless the server was started with another --logprobs-mode",
            Self::Unknown => "as the server gives them; whether before or after temperature and truncation is not known",
        }
    }

    /// Fields of a request that switch off the server's own truncation and penalties.
    pub(super) fn neutral(self) -> Map<String, Value> {
        let fields = match self {
            Self::LlamaCpp => json!({ "top_k": 0, "min_p": 0.0 }),
            Self::LlamaCppPython => json!({ "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0 }),
            Self::Vllm => json!({ "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0 }),
            Self::Unknown => json!({}),
        };
        fields.as_object().cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_the_owner_of_its_models() {
        let of = |owner: &str| Kind::of(&json!({ "data": [{ "id": "m", "owned_by": owner }] }));
        assert_eq!([of("llamacpp"), of("me"), of("vllm"), of("openai")], [Kind::LlamaCpp, Kind::LlamaCppPython, Kind::Vllm, Kind::Unknown]);
        assert_eq!(Kind::of(&json!("<html>")), Kind::Unknown);
        assert!(Kind::Unknown.neutral().is_empty(), "a server that is not known might refuse what it does not know");
    }
}
