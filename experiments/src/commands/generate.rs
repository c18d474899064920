//! `coppice generate`: text, or records with traces, from one prompt.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args};
use coppice_models::Checkpoint;
use coppice_models::chat::{self, ChatTemplate};
use coppice_models::sampling::Sampling;
use coppice_models::tokenizer::Tokenizer;

use crate::answering::{Answering, Asked, Chat, Settings, TraceKind};
use crate::common::{Causality, ModelArgs, Outcome, read_text};
use crate::output;

/// Generates from a prompt: text, or with --json a record whose every token carries log-probability, entropy and alternatives.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("source").required(true).args(["prompt", "prompt_file", "tokens"])))]
pub struct GenerateArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    causality: Causality,
    /// The prompt.
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// A file that holds the prompt.
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// The prompt as token ids (needs no tokenizer).
    #[arg(long, value_name = "ID,ID", value_delimiter = ',')]
    tokens: Option<Vec<i64>>,
    /// Put the prompt into the checkpoint's chat template as the user's turn.
    #[arg(long)]
    chat: bool,
    /// The system's turn, with --chat.
    #[arg(long, value_name = "TEXT", requires = "chat")]
    system: Option<String>,
    /// Samples of the prompt, decoded as one batch. With --json and more than one, the most probable answer is decoded beside them and
    /// becomes the record's response.
    #[arg(long, default_value_t = 1, value_name = "N")]
    samples: usize,
    /// Longest response in tokens.
    #[arg(long, default_value_t = 128, value_name = "N")]
    max_new_tokens: usize,
    /// Divides the logits; 0 takes the most probable token. Default: 0 for one sample, 1 for several.
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Keep the K most probable tokens.
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Keep the most probable tokens that reach this mass.
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// Keep tokens at least this share as probable as the best.
    #[arg(long, value_name = "P")]
    min_p: Option<f64>,
    /// Penalise tokens already seen (1 = no penalty).
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    repetition_penalty: f64,
    /// Seed of the draws.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// End a response at this text, which is left out (repeatable).
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// End a response at this id too (repeatable).
    #[arg(long, value_name = "ID")]
    stop_id: Vec<i64>,
    /// Go on past end-of-text ids until --max-new-tokens (for timing).
    #[arg(long)]
    ignore_eos: bool,
    /// Alternatives kept per token in the record.
    #[arg(long, default_value_t = 5, value_name = "N")]
    top_logprobs: usize,
    /// What the record holds beside tokens and their probabilities: attention, hidden, distribution, unconditional, judged, or all.
    #[arg(long, value_name = "KIND,KIND", value_delimiter = ',', requires = "json", hide_possible_values = true)]
    traces: Vec<TraceKind>,
    /// Layers, from 0, whose hidden states --traces hidden keeps. Default: the middle one.
    #[arg(long, value_name = "I,J", value_delimiter = ',', requires = "traces")]
    hidden_layers: Option<Vec<usize>>,
    /// Print the record as one JSON object.
    #[arg(long)]
    json: bool,
}

impl GenerateArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        self.sampling().check()?;
        let checkpoint = self.model.open()?;
        self.causality.check(&checkpoint.config)?;
        let tokenizer = self.tokenizer(&checkpoint)?;
        let chat = if self.chat { Some(self.chat(&checkpoint)?) } else { None };
        let settings = self.settings(&checkpoint, tokenizer.as_ref())?;
        let (_, model) = self.model.load()?;
        let answering = Answering { model: &model, tokenizer: tokenizer.as_ref(), chat, settings };
        if self.json {
            self.print_record(&answering)?;
        } else {
            self.print_text(&answering)?;
        }
        Ok(Outcome::Done)
    }

    fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature.unwrap_or(if self.samples > 1 { 1.0 } else { 0.0 }),
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
        }
    }

    /// The tokenizer, where the prompt or a stop string needs one or the checkpoint has one.
    fn tokenizer(&self, checkpoint: &Checkpoint) -> Result<Option<Tokenizer>> {
        let needed = self.tokens.is_none() || !self.stop.is_empty();
        if needed || checkpoint.folder.join("tokenizer.json").exists() {
            return Ok(Some(Tokenizer::load(&checkpoint.folder)?));
        }
        Ok(None)
    }

    fn chat(&self, checkpoint: &Checkpoint) -> Result<Chat> {
        Ok(Chat { template: ChatTemplate::load(&checkpoint.folder)?, system: self.system.clone() })
    }

    /// The prompt, where it is a text.
    fn text(&self) -> Result<Option<String>> {
        match (&self.prompt, &self.prompt_file) {
            (Some(text), _) => Ok(Some(text.clone())),
            (None, Some(path)) => read_text(path).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn asked(&self, answering: &Answering) -> Result<Asked> {
        match (self.text()?, &self.tokens) {
            (Some(text), _) => answering.asked(&text),
            (None, Some(tokens)) => answering.asked_ids(tokens),
            (None, None) => bail!("no prompt"),
        }
    }

    fn settings(&self, checkpoint: &Checkpoint, tokenizer: Option<&Tokenizer>) -> Result<Settings> {
        let config = &checkpoint.config;
        if TraceKind::any(&self.traces, TraceKind::Judged) && tokenizer.is_none() {
            bail!("--traces judged asks the model in words: it needs a tokenizer.json in the checkpoint");
        }
        let middle = || vec![config.num_hidden_layers / 2];
        Ok(Settings {
            name: self.model.model.clone(),
            samples: self.samples,
            max_new_tokens: self.max_new_tokens,
            sampling: self.sampling(),
            seed: self.seed,
            stop: self.stop.clone(),
            stop_ids: self.stop_ids(checkpoint, tokenizer)?,
            banned_ids: tokenizer.map(|tokenizer| tokenizer.unused_ids(config.vocab_size)).unwrap_or_default(),
            begin: config.bos_token_id.or(config.eos_token_ids.first().copied()),
            top_logprobs: if self.json { self.top_logprobs } else { 0 },
            traces: self.traces.clone(),
            hidden_layers: self.hidden_layers.clone().unwrap_or_else(middle),
            prompts_at_a_time: 1,
        })
    }

    fn stop_ids(&self, checkpoint: &Checkpoint, tokenizer: Option<&Tokenizer>) -> Result<Vec<i64>> {
        let mut ids = self.stop_id.clone();
        if !self.ignore_eos {
            ids.extend(chat::stop_ids(&checkpoint.folder, &checkpoint.config.eos_token_ids, tokenizer)?);
        }
        Ok(ids)
    }

    fn print_record(&self, answering: &Answering) -> Result<()> {
        let records = match (self.text()?, &self.tokens) {
            (Some(text), None) => answering.answer(&[text])?,
            _ => answering.answer_asked(&[self.asked(answering)?])?,
        };
        records.iter().try_for_each(output::json)
    }

    fn print_text(&self, answering: &Answering) -> Result<()> {
        let asked = self.asked(answering)?;
        let start = Instant::now();
        let traces = answering.traces(&[asked], false)?.concat();
        let seconds = start.elapsed().as_secs_f64();
        for (index, trace) in traces.iter().enumerate() {
            if traces.len() > 1 {
                output::line(format!("--- sample {}", index + 1))?;
            }
            output::line(answering.response(trace)?)?;
        }
        let tokens: usize = traces.iter().map(|trace| trace.tokens.len()).sum();
        output::say(format!("{tokens} tokens in {seconds:.2} s ({:.2} tokens/s, prefill included)", tokens as f64 / seconds));
        Ok(())
    }
}
