//! What can go wrong between us and a server, and what is worth another try.

use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ServerError {
    /// No http(s) address, or one that holds what belongs elsewhere.
    #[error("{address:?} is no server's address: {why}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The key holds characters that cannot stand in a header.
    #[error("the API key holds characters that cannot be sent")]
    Key,
    /// No connection.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// The address.
        url: String,
        /// What the system says.
        reason: String,
    },
    /// Nothing, or not all, came in time.
    #[error("{url} gave no whole answer within {seconds} s")]
    Timeout {
        /// The address.
        url: String,
        /// How long we waited.
        seconds: f64,
    },
    /// The connection ended before the answer did.
    #[error("{url} broke off: {reason}")]
    CutOff {
        /// The address.
        url: String,
        /// What was seen.
        reason: String,
    },
    /// A status that is not success.
    #[error("{url} answers {status}: {told}")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The server's own words, shortened.
        told: String,
        /// How long it asks us to wait.
        wait: Option<Duration>,
    },
    /// A redirect, which is not followed: the key and the prompts are for the server that was named.
    #[error("{url} redirects to {to:?}, which is not followed; name the final address")]
    Redirect {
        /// The address.
        url: String,
        /// Where it points.
        to: String,
    },
    /// More bytes than the question allows for.
    #[error("the answer of {url} is larger than {limit} bytes, more than the question allows for")]
    TooLarge {
        /// The address.
        url: String,
        /// The most that was accepted.
        limit: u64,
    },
    /// Not JSON, or not the JSON that was asked for.
    #[error("the answer of {url} is not what was asked for: {why}")]
    Malformed {
        /// The address.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// The answer is there, its log-probabilities are not.
    #[error("the server gives no log-probabilities; switch them on there, or collect the texts alone (`--no-logprobs`)")]
    NoLogprobs,
    /// The model is not named and not the only one.
    #[error("name the model (`--model-name`); the server has: {0}")]
    ModelNotNamed(String),
    /// There is nothing to judge.
    #[error("the response is empty (finish_reason {0})")]
    Empty(String),
    /// A chat's messages cannot be sent to a completion endpoint.
    #[error("`messages` need a chat endpoint; a completion endpoint takes a `prompt`")]
    Messages,
    /// What came does not make a record.
    #[error("the answer makes no record: {0}")]
    Inconsistent(#[from] crate::record::Inconsistency),
    /// Every try failed.
    #[error("{tries} tries failed, the last because {last}")]
    GaveUp {
        /// How many were made.
        tries: usize,
        /// What the last one met.
        last: Box<ServerError>,
    },
}

impl ServerError {
    /// Whether the same question may fare better a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::CutOff { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504 | 529),
            _ => false,
        }
    }

    /// How long the server asks us to wait before the next try.
    pub fn wait(&self) -> Option<Duration> {
        if let Self::Status { wait, .. } = self { *wait } else { None }
    }

    /// Whether every other question would fail alike: no such key, no such path or model.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Status { status: 401 | 404, .. } | Self::Redirect { .. })
    }

    /// Whether the server could not be reached at all.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::GaveUp { last, .. } => last.is_unreachable(),
            _ => false,
        }
    }

    /// Whether a server that cannot give several answers at once might say it like this. (llama.cpp has said it with 400 and with 500.)
    pub(crate) fn may_refuse_several(&self) -> bool {
        matches!(self, Self::Status { status: 400 | 422 | 500 | 501, .. })
    }
}
