//! A question to a record: the most probable answer with its trace, then samples.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::ask::{Ask, Input, Turn};
use super::error::ServerError;
use super::question::Question;
use super::remote::Remote;
use crate::contrast;
use crate::record::{Record, Variant};

/// How questions are answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Samples beside the response.
    pub samples: usize,
    /// Temperature of the samples; the response is the most probable answer.
    pub temperature: f64,
    /// Longest answer, tokens.
    pub max_new_tokens: usize,
    /// Seed of the response; samples count on from it.
    pub seed: u64,
    /// Alternatives at every token of the response, at least one; `None` for texts alone.
    pub top_logprobs: Option<usize>,
    /// Goes before every prompt, as the system's message.
    pub system: Option<String>,
    /// Kinds of variation by name ([`contrast::registry`](crate::contrast::registry)), whose variants are answered too.
    pub variants: Vec<String>,
    /// Variants of each kind.
    pub wordings: usize,
    /// Samples of each variant.
    pub variant_samples: usize,
}

/// Makes records of questions.
#[derive(Debug)]
pub struct Collector {
    /// Who is asked.
    pub remote: Remote,
    /// How.
    pub plan: Plan,
}

/// Why answers ended, for `source`.
#[derive(Debug, Default)]
struct Ends {
    response: Option<String>,
    samples: Vec<Option<String>>,
    unmatched: bool,
}

impl Collector {
    /// The record of a question. A response that the question brings is kept, with its label and traces, and only the samples that are missing
    /// are drawn.
    ///
    /// # Errors
    /// When the server fails for good, or what it sends makes no record.
    pub fn record(&self, question: &Question) -> Result<Record, ServerError> {
        let (mut record, mut ends) = (question.record.clone(), Ends::default());
        if !question.is_answered() {
            self.respond(&question.input, &mut record, &mut ends)?;
        }
        let wanted = self.plan.samples.saturating_sub(record.samples.len());
        let drawn = self.ask(&question.input, wanted, self.plan.temperature)?;
        ends.samples = drawn.iter().map(|answer| answer.finish_reason.clone()).collect();
        record.samples.extend(drawn.into_iter().map(Answer::into_sample));
        if record.variants.is_empty() {
            record.variants = self.variants(&question.input)?;
        }
        record.source = Some(question.source(self.provenance(&ends)));
        record.check()?;
        Ok(record)
    }

    fn respond(&self, input: &Input, record: &mut Record, ends: &mut Ends) -> Result<(), ServerError> {
        let answer = self.ask(input, 1, 0.0)?.remove(0);
        if answer.text.is_empty() {
            return Err(ServerError::Empty(answer.finish_reason.unwrap_or_else(|| "not given".to_owned())));
        }
        ends.response = answer.finish_reason.clone();
        ends.unmatched = answer.trace.as_ref().is_some_and(|trace| trace.texts.is_none());
        answer.respond(record);
        Ok(())
    }

    /// The variants of a question with their samples. In a chat it is the last message that varies.
    fn variants(&self, input: &Input) -> Result<Vec<Variant>, ServerError> {
        let kinds: Vec<_> = self.plan.variants.iter().filter_map(|kind| contrast::find(kind).ok()).collect();
        let mut variants = contrast::variants(last(input), &kinds, self.plan.wordings, self.plan.seed);
        for variant in &mut variants {
            let temperature = variant.temperature.unwrap_or(self.plan.temperature);
            let drawn = self.ask(&reworded(input, &variant.prompt), self.plan.variant_samples, temperature)?;
            variant.samples = drawn.into_iter().map(Answer::into_sample).collect();
        }
        Ok(variants)
    }

    /// Answers of one temperature; the most probable one keeps its alternatives, samples need none.
    fn ask(&self, input: &Input, answers: usize, temperature: f64) -> Result<Vec<Answer>, ServerError> {
        if answers == 0 {
            return Ok(Vec::new());
        }
        let response = temperature == 0.0;
        let top_logprobs = self.plan.top_logprobs.map(|top| if response { top } else { 1 });
        let seed = self.plan.seed.wrapping_add(u64::from(!response));
        let input = self.with_system(input);
        self.remote.answers(&Ask { input, answers, temperature, max_tokens: self.plan.max_new_tokens, seed, top_logprobs })
    }

    fn with_system(&self, input: &Input) -> Input {
        let Some(system) = &self.plan.system else { return input.clone() };
        let first = Turn { role: "system".to_owned(), content: system.clone() };
        let rest = match input {
            Input::Text(text) => vec![Turn::user(text)],
            Input::Chat(turns) => turns.clone(),
        };
        Input::Chat(std::iter::once(first).chain(rest).collect())
    }

    fn provenance(&self, ends: &Ends) -> Map<String, Value> {
        let Plan { samples, temperature, max_new_tokens, seed, top_logprobs, system, .. } = &self.plan;
        let mut told = json!({
            "server": self.remote.kind().name(), "model": self.remote.model(), "endpoint": self.remote.endpoint(), "samples": samples,
            "temperature": temperature, "max_new_tokens": max_new_tokens, "seed": seed, "top_logprobs": top_logprobs,
            "logprobs": top_logprobs.map(|_| self.remote.kind().logprobs()), "finish_reason": ends.response,
            "sample_finish_reasons": ends.samples,
        });
        if let Some(system) = system {
            told["system"] = system.as_str().into();
        }
        if ends.unmatched {
            told["token_texts"] = "left out: the server's tokens do not make up its text".into();
        }
        if let Value::Object(told) = told { told } else { Map::new() }
    }
}

/// The text that is varied.
fn last(input: &Input) -> &str {
    match input {
        Input::Text(text) => text,
        Input::Chat(turns) => turns.last().map(|turn| turn.content.as_str()).unwrap_or_default(),
    }
}

/// The same input with another text in that place.
fn reworded(input: &Input, wording: &str) -> Input {
    let mut input = input.clone();
    match &mut input {
        Input::Text(text) => wording.clone_into(text),
        Input::Chat(turns) => turns.iter_mut().next_back().into_iter().for_each(|turn| wording.clone_into(&mut turn.content)),
    }
    input
}
