//! The engine as a source of records: the options that choose a checkpoint, and its answers to questions, a batch at a time.

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use coppice_detect::record::Variant;
use coppice_detect::server::{Input, Plan, Question, QuestionError};
use coppice_detect::{Record, Sample, contrast};
use coppice_models::chat::{ChatTemplate, stop_ids};
use coppice_models::sampling::Sampling;
use coppice_models::tokenizer::Tokenizer;
use coppice_models::{Checkpoint, Model};
use serde_json::{Map, Value, json};

use super::ledger::Ledger;
use crate::answering::{Answering, Chat, Settings, TraceKind};
use crate::common::{Causality, Compute, Interrupted, ModelArgs, check_interrupt, is_interruption, progress};

/// A checkpoint that answers by itself, and what it leaves.
#[derive(Debug, Clone, Args)]
pub(super) struct EngineArgs {
    /// Checkpoint folder, or the ID of a pulled one; --chat puts prompts into its template.
    #[arg(long, value_name = "DIR")]
    pub(super) model: Option<String>,
    #[command(flatten)]
    compute: Compute,
    #[command(flatten)]
    causality: Causality,
    /// What records hold beside tokens and their probabilities: attention, hidden, distribution, unconditional, judged, or all.
    #[arg(long, value_name = "KIND,KIND", value_delimiter = ',', requires = "model", hide_possible_values = true)]
    traces: Vec<TraceKind>,
    /// Layers, from 0, whose hidden states --traces hidden keeps. Default: the middle one.
    #[arg(long, value_name = "I,J", value_delimiter = ',', requires = "traces")]
    hidden_layers: Option<Vec<usize>>,
    /// Prompts decoded side by side, each with its samples.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    prompts_at_a_time: u16,
}

/// A question and its answers in the making.
type Questions = [Result<Question, QuestionError>];

impl EngineArgs {
    /// The options that decide what is answered.
    pub(super) fn settings(&self) -> Value {
        let traces: Vec<String> = self.traces.iter().map(|kind| format!("{kind:?}")).collect();
        json!({ "model": self.model, "dtype": self.compute.dtype.map(|dtype| format!("{dtype:?}")), "traces": traces, "hidden_layers": self.hidden_layers })
    }

    /// Answers the ledger's open items and enters each. A batch that fails is asked again one by one, so that an item fails alone.
    ///
    /// # Errors
    /// When the model cannot be loaded, a record not be written, or the user interrupts.
    pub(super) fn work_off(&self, name: &str, chat: bool, plan: &Plan, questions: &Questions, ledger: &mut Ledger) -> Result<()> {
        let arguments = ModelArgs { model: name.to_owned(), compute: self.compute.clone() };
        let checkpoint = arguments.open()?;
        self.causality.check(&checkpoint.config)?;
        let tokenizer = Tokenizer::load(&checkpoint.folder)?;
        let chat = chat.then(|| ChatTemplate::load(&checkpoint.folder)).transpose()?;
        let chat = chat.map(|template| Chat { template, system: plan.system.clone() });
        let settings = self.answers(name, plan, &checkpoint, &tokenizer)?;
        let (_, model) = arguments.load()?;
        let source = Source { model: &model, tokenizer: &tokenizer, chat, settings, plan };
        let open = ledger.open_items();
        let bar = progress(open.len() as u64, "collect");
        for batch in open.chunks(usize::from(self.prompts_at_a_time)) {
            check_interrupt().map_err(|_| Interrupted::Journal)?;
            source.enter(questions, batch, ledger)?;
            bar.inc(batch.len() as u64);
        }
        Ok(())
    }

    fn answers(&self, name: &str, plan: &Plan, checkpoint: &Checkpoint, tokenizer: &Tokenizer) -> Result<Settings> {
        let config = &checkpoint.config;
        Ok(Settings {
            name: name.to_owned(),
            // Of one answer alone it would be a sample.
            samples: if plan.samples == 0 { 1 } else { plan.samples.max(2) },
            max_new_tokens: plan.max_new_tokens,
            sampling: Sampling { temperature: if plan.samples == 0 { 0.0 } else { plan.temperature }, ..Sampling::default() },
            seed: plan.seed,
            stop: Vec::new(),
            stop_ids: stop_ids(&checkpoint.folder, &config.eos_token_ids, Some(tokenizer))?,
            banned_ids: tokenizer.unused_ids(config.vocab_size),
            begin: config.bos_token_id.or(config.eos_token_ids.first().copied()),
            top_logprobs: plan.top_logprobs.unwrap_or(0),
            traces: self.traces.clone(),
            hidden_layers: self.hidden_layers.clone().unwrap_or_else(|| vec![config.num_hidden_layers / 2]),
            prompts_at_a_time: usize::from(self.prompts_at_a_time),
        })
    }
}

/// A loaded model with what it is asked to do.
struct Source<'a> {
    model: &'a Model,
    tokenizer: &'a Tokenizer,
    chat: Option<Chat>,
    settings: Settings,
    plan: &'a Plan,
}

impl Source<'_> {
    fn enter(&self, questions: &Questions, batch: &[usize], ledger: &mut Ledger) -> Result<()> {
        match self.records(questions, batch) {
            Ok(records) => batch.iter().zip(records).try_for_each(|(&item, record)| ledger.finish(item, &record)),
            Err(error) if is_interruption(&error) => Err(Interrupted::Journal.into()),
            Err(_) if batch.len() > 1 => batch.iter().try_for_each(|&item| self.enter(questions, &[item], ledger)),
            Err(error) => {
                batch.iter().for_each(|&item| ledger.fail(item, &format!("{error:#}")));
                Ok(())
            }
        }
    }

    /// The records of a batch, as they are written.
    fn records(&self, questions: &Questions, batch: &[usize]) -> Result<Vec<Value>> {
        let question = |&item: &usize| questions.get(item).and_then(|question| question.as_ref().ok()).context("no such question");
        let questions = batch.iter().map(question).collect::<Result<Vec<&Question>>>()?;
        let prompts = questions.iter().map(|question| self.prompt(question)).collect::<Result<Vec<String>>>()?;
        let answers = self.answering(self.settings.clone()).answer(&prompts)?;
        let made = questions.iter().zip(&prompts).zip(answers);
        made.map(|((question, prompt), answer)| self.completed(question, prompt, answer)).collect()
    }

    fn answering(&self, settings: Settings) -> Answering<'_> {
        Answering { model: self.model, tokenizer: Some(self.tokenizer), chat: self.chat.clone(), settings }
    }

    fn prompt(&self, question: &Question) -> Result<String> {
        match &question.input {
            Input::Text(text) => Ok(text.clone()),
            Input::Chat(turns) if self.chat.is_none() || turns.len() != 1 => {
                bail!("`messages` has {} turns; --model takes one, of the user, with --chat", turns.len())
            }
            Input::Chat(turns) => turns.first().map(|turn| turn.content.clone()).ok_or_else(|| anyhow!("`messages` is empty")),
        }
    }

    /// The question's record with the model's answer; a response that the question brings is kept and gets samples alone.
    fn completed(&self, question: &Question, prompt: &str, answer: Record) -> Result<Value> {
        let told = if let Some(Value::Object(told)) = answer.source.clone() { told } else { Map::new() };
        let own = question.record.clone();
        let missing = self.plan.samples.saturating_sub(own.samples.len());
        let samples = own.samples.iter().cloned().chain(answer.samples.iter().take(missing).cloned()).collect();
        let variants = if own.variants.is_empty() { self.variants(prompt)? } else { own.variants.clone() };
        let (id, text, reference, label) = (own.id.clone(), own.prompt.clone(), own.reference.clone(), own.label);
        let base = if question.is_answered() { own } else { Record { id, prompt: text, reference, label, ..answer } };
        let record = Record { samples, variants, source: Some(question.source(told)), ..base };
        record.check()?;
        Ok(question.completed(&record)?)
    }

    fn variants(&self, prompt: &str) -> Result<Vec<Variant>> {
        let kinds: Vec<_> = self.plan.variants.iter().filter_map(|kind| contrast::find(kind).ok()).collect();
        let mut variants = contrast::variants(prompt, &kinds, self.plan.wordings, self.plan.seed);
        for variant in &mut variants {
            variant.samples = self.draw(&variant.prompt, variant.temperature.unwrap_or(self.plan.temperature))?;
        }
        Ok(variants)
    }

    /// Samples of one prompt without further traces.
    fn draw(&self, prompt: &str, temperature: f64) -> Result<Vec<Sample>> {
        let sampling = Sampling { temperature, ..self.settings.sampling.clone() };
        let settings = Settings { samples: self.plan.variant_samples.max(2), sampling, traces: Vec::new(), ..self.settings.clone() };
        let answers = self.answering(settings).answer(&[prompt.to_owned()])?;
        Ok(answers.into_iter().flat_map(|answer| answer.samples).take(self.plan.variant_samples).collect())
    }
}
