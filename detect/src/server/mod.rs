//! Other people's models: answers with log-probabilities from any server that speaks OpenAI's HTTP interface (llama.cpp, vLLM and the rest).
//!
//! Such servers agree on the two paths and on little else: some refuse several answers at once, some send a token's bytes, some the end of the
//! text as a token, some cut their own sampling down unless told not to. What differs is settled here, so that the records of two servers
//! compare. What a server sends is not trusted: it is bounded in size and checked like any other input.
//!
//! A server gives log-probabilities of the likeliest tokens alone, from which no entropy of the whole vocabulary follows: `token_entropies`
//! stays absent.

mod address;
mod align;
mod answer;
mod ask;
mod choice;
mod client;
mod collect;
mod error;
mod judge;
mod kind;
mod pool;
mod prompts;
mod question;
mod remote;
mod retry;
mod wire;

pub use answer::{Answer, Trace};
pub use ask::{Ask, Endpoint, Input, Turn};
pub use client::{Access, Server};
pub use collect::{Collector, Plan};
pub use error::ServerError;
pub use judge::{Judge, Opinion};
pub use kind::Kind;
pub use pool::each;
pub use question::{Question, QuestionError, read_questions};
pub use remote::Remote;
pub use retry::Retry;
