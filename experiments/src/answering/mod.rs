//! Answers with everything the detector reads: prompts in, records out, many prompts a batch.
//!
//! The model answers each prompt, draws samples beside it, and leaves the traces that were asked for; then it may be asked what it thinks of
//! its answers.

mod judging;
mod prompt;
mod record;
mod traces;

use std::time::Instant;

use anyhow::{Context, Result};
use coppice_detect::Record;
use coppice_models::Model;
use coppice_models::generate::{Options, Trace, generate};
use coppice_models::observe::Observe;
use coppice_models::sampling::Sampling;
use coppice_models::score::unconditional;
use coppice_models::tokenizer::Tokenizer;

pub use prompt::{Asked, Chat};
pub use traces::TraceKind;

use crate::common::check_interrupt;

/// A model that answers.
pub struct Answering<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its tokenizer; without one, prompts are ids and answers are told as ids.
    pub tokenizer: Option<&'a Tokenizer>,
    /// Puts prompts into the form the model was tuned on, where it is to be asked that way.
    pub chat: Option<Chat>,
    /// How it answers.
    pub settings: Settings,
}

/// How a model answers, and what it leaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of the model in the record.
    pub name: String,
    /// Answers drawn to each prompt. Of more than one, the most probable answer is decoded beside them.
    pub samples: usize,
    /// Longest answer in tokens.
    pub max_new_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Every draw follows from it, the prompt and the sample's number.
    pub seed: u64,
    /// Texts that end an answer and are left out of it.
    pub stop: Vec<String>,
    /// Ids that end an answer.
    pub stop_ids: Vec<i64>,
    /// Ids that are never generated.
    pub banned_ids: Vec<i64>,
    /// The id that begins a text, for what an answer is worth without its prompt.
    pub begin: Option<i64>,
    /// Alternatives kept of every token.
    pub top_logprobs: usize,
    /// What is left beside tokens and their probabilities.
    pub traces: Vec<TraceKind>,
    /// Layers whose hidden states are kept, where those are asked for.
    pub hidden_layers: Vec<usize>,
    /// Prompts decoded side by side.
    pub prompts_at_a_time: usize,
}

impl Answering<'_> {
    /// A record for every prompt, in order.
    ///
    /// # Errors
    /// When a prompt has no tokens, fills the context or its template fails, when the model computes NaN, and when the user interrupts.
    pub fn answer(&self, prompts: &[String]) -> Result<Vec<Record>> {
        let asked = prompts.iter().map(|prompt| self.asked(prompt)).collect::<Result<Vec<_>>>()?;
        self.answer_asked(&asked)
    }

    /// [`Answering::answer`], of prompts that are encoded already.
    ///
    /// # Errors
    /// As [`Answering::answer`].
    pub fn answer_asked(&self, asked: &[Asked]) -> Result<Vec<Record>> {
        let mut records = Vec::with_capacity(asked.len());
        for some in asked.chunks(self.settings.prompts_at_a_time.max(1)) {
            check_interrupt()?;
            records.extend(self.answer_batch(some)?);
        }
        Ok(records)
    }

    fn answer_batch(&self, asked: &[Asked]) -> Result<Vec<Record>> {
        let start = Instant::now();
        let traces = self.traces(asked, self.settings.samples > 1)?;
        let seconds = start.elapsed().as_secs_f64() / asked.len() as f64;
        let make = |(asked, traces): (&Asked, &Vec<Trace>)| self.record(asked, traces, seconds);
        let mut records = asked.iter().zip(&traces).map(make).collect::<Result<Vec<_>>>()?;
        if self.leaves(TraceKind::Unconditional) {
            self.add_unconditional(&mut records)?;
        }
        if self.leaves(TraceKind::Judged) {
            let questions: Vec<&str> = asked.iter().map(|asked| asked.question.as_str()).collect();
            judging::judge(self, &questions, &mut records)?;
        }
        Ok(records)
    }

    /// What the model generates after each prompt: the samples, after the most probable answer where that is wanted beside them.
    ///
    /// # Errors
    /// As [`Answering::answer`].
    pub fn traces(&self, asked: &[Asked], greedy_first: bool) -> Result<Vec<Vec<Trace>>> {
        let settings = &self.settings;
        let tokenizer = self.tokenizer;
        let told = |tokens: &[i64]| text(tokenizer, tokens).unwrap_or_default();
        let stop = |tokens: &[i64]| settings.stop.iter().any(|stop| told(tokens).contains(stop.as_str()));
        let options = Options {
            max_new_tokens: settings.max_new_tokens,
            samples: settings.samples + usize::from(greedy_first),
            sampling: settings.sampling.clone(),
            seed: settings.seed,
            stop_ids: settings.stop_ids.clone(),
            banned_ids: settings.banned_ids.clone(),
            top_logprobs: settings.top_logprobs,
            stop_when: if settings.stop.is_empty() { None } else { Some(&stop) },
            greedy_first,
            observe: self.observe(),
        };
        let ids: Vec<Vec<i64>> = asked.iter().map(|asked| asked.ids.clone()).collect();
        Ok(generate(self.model, &ids, &options)?)
    }

    fn observe(&self) -> Observe {
        Observe {
            attention: self.leaves(TraceKind::Attention),
            hidden_layers: if self.leaves(TraceKind::Hidden) { self.settings.hidden_layers.clone() } else { Vec::new() },
            distribution: self.leaves(TraceKind::Distribution),
        }
    }

    fn leaves(&self, kind: TraceKind) -> bool {
        TraceKind::any(&self.settings.traces, kind)
    }

    fn add_unconditional(&self, records: &mut [Record]) -> Result<()> {
        let told: Vec<Vec<i64>> = records.iter().map(|record| record.tokens.clone().unwrap_or_default()).collect();
        let scored = unconditional(self.model, &told, self.settings.begin)?;
        records.iter_mut().zip(scored).for_each(|(record, logprobs)| record.unconditional_logprobs = Some(logprobs));
        Ok(())
    }

    fn text(&self, tokens: &[i64]) -> Result<String> {
        text(self.tokenizer, tokens)
    }

    /// An answer's text, cut at the first stop string.
    ///
    /// # Errors
    /// When the tokenizer refuses.
    pub fn response(&self, trace: &Trace) -> Result<String> {
        let text = self.text(&trace.tokens)?;
        let cut = self.settings.stop.iter().filter_map(|stop| text.find(stop.as_str())).min().unwrap_or(text.len());
        Ok(text[..cut].to_owned())
    }

    fn encode(&self, text: &str) -> Result<Vec<i64>> {
        let tokenizer = self.tokenizer.context("a text prompt needs a tokenizer.json in the checkpoint")?;
        Ok(tokenizer.encode(text)?.into_iter().map(i64::from).collect())
    }
}

/// The text of ids; without a tokenizer, the ids themselves.
fn text(tokenizer: Option<&Tokenizer>, tokens: &[i64]) -> Result<String> {
    let Some(tokenizer) = tokenizer else { return Ok(format!("{tokens:?}")) };
    Ok(tokenizer.decode(&known(tokens))?)
}

/// Ids as the tokenizer counts them.
fn known(tokens: &[i64]) -> Vec<u32> {
    tokens.iter().filter_map(|&id| u32::try_from(id).ok()).collect()
}
