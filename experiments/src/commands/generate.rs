//! `coppice generate`: text, or records with traces, from one prompt.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Args};
use coppice_detect::{Record, Sample};
use coppice_models::chat::{self, ChatTemplate, Message};
use coppice_models::generate::{Options, Trace, generate};
use coppice_models::sampling::Sampling;
use coppice_models::tokenizer::Tokenizer;
use coppice_models::{Checkpoint, Model};
use serde_json::json;

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
        let (prompt, ids) = self.prompt(&checkpoint, tokenizer.as_ref())?;
        coppice_models::score::check_tokens(&checkpoint.config, &ids)?;
        let (_, model) = self.model.load()?;
        let start = Instant::now();
        let traces = self.generate(&model, &checkpoint, tokenizer.as_ref(), ids)?;
        self.print(&prompt, &traces, tokenizer.as_ref(), start.elapsed().as_secs_f64())?;
        Ok(Outcome::Done)
    }

    /// The same prompt and seed give the same id, others another one.
    fn id(&self, prompt: &str) -> String {
        blake3::hash(format!("{}\n{prompt}", self.seed).as_bytes()).to_hex()[..16].to_owned()
    }

    /// Whether the most probable answer is decoded beside the samples: a record's scores compare the two.
    fn greedy_beside(&self) -> bool {
        self.json && self.samples > 1
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

    /// The prompt's text and ids.
    fn prompt(&self, checkpoint: &Checkpoint, tokenizer: Option<&Tokenizer>) -> Result<(String, Vec<i64>)> {
        if let Some(tokens) = &self.tokens {
            return Ok((format!("{tokens:?}"), tokens.clone()));
        }
        let text = match (&self.prompt, &self.prompt_file) {
            (Some(text), _) => text.clone(),
            (None, Some(path)) => read_text(path)?,
            (None, None) => bail!("no prompt"),
        };
        let text = if self.chat { self.in_template(checkpoint, &text)? } else { text };
        let tokenizer = tokenizer.context("a text prompt needs a tokenizer.json in the checkpoint")?;
        let ids = tokenizer.encode(&text)?.into_iter().map(i64::from).collect();
        Ok((text, ids))
    }

    fn in_template(&self, checkpoint: &Checkpoint, text: &str) -> Result<String> {
        let template = ChatTemplate::load(&checkpoint.folder)?;
        let system = self.system.iter().map(|system| Message::new("system", system));
        let messages: Vec<_> = system.chain([Message::new("user", text)]).collect();
        Ok(template.render(&messages, true)?)
    }

    fn generate(&self, model: &Model, checkpoint: &Checkpoint, tokenizer: Option<&Tokenizer>, ids: Vec<i64>) -> Result<Vec<Trace>> {
        let decode = |tokens: &[i64]| tokenizer.and_then(|tokenizer| text_of(tokenizer, tokens).ok()).unwrap_or_default();
        let stop = |tokens: &[i64]| self.stop.iter().any(|stop| decode(tokens).contains(stop.as_str()));
        let options = Options {
            max_new_tokens: self.max_new_tokens,
            samples: self.samples + usize::from(self.greedy_beside()),
            greedy_first: self.greedy_beside(),
            sampling: self.sampling(),
            seed: self.seed,
            stop_ids: self.stop_ids(checkpoint, tokenizer)?,
            banned_ids: tokenizer.map(|tokenizer| tokenizer.unused_ids(checkpoint.config.vocab_size)).unwrap_or_default(),
            top_logprobs: if self.json { self.top_logprobs } else { 0 },
            stop_when: if self.stop.is_empty() { None } else { Some(&stop) },
        };
        Ok(generate(model, &[ids], &options)?.remove(0))
    }

    fn stop_ids(&self, checkpoint: &Checkpoint, tokenizer: Option<&Tokenizer>) -> Result<Vec<i64>> {
        let mut ids = self.stop_id.clone();
        if !self.ignore_eos {
            ids.extend(chat::stop_ids(&checkpoint.folder, &checkpoint.config.eos_token_ids, tokenizer)?);
        }
        Ok(ids)
    }

    fn print(&self, prompt: &str, traces: &[Trace], tokenizer: Option<&Tokenizer>, seconds: f64) -> Result<()> {
        let texts = traces.iter().map(|trace| self.response(trace, tokenizer)).collect::<Result<Vec<_>>>()?;
        if self.json {
            return output::json(&self.record(prompt, traces, &texts, seconds));
        }
        for (index, text) in texts.iter().enumerate() {
            if texts.len() > 1 {
                output::line(format!("--- sample {}", index + 1))?;
            }
            output::line(text)?;
        }
        let tokens: usize = traces.iter().map(|trace| trace.tokens.len()).sum();
        output::say(format!("{tokens} tokens in {seconds:.2} s ({:.2} tokens/s, prefill included)", tokens as f64 / seconds));
        Ok(())
    }

    /// The response's text, cut at the first stop string.
    fn response(&self, trace: &Trace, tokenizer: Option<&Tokenizer>) -> Result<String> {
        let Some(tokenizer) = tokenizer else { return Ok(format!("{:?}", trace.tokens)) };
        let text = text_of(tokenizer, &trace.tokens)?;
        let cut = self.stop.iter().filter_map(|stop| text.find(stop.as_str())).min().unwrap_or(text.len());
        Ok(text[..cut].to_owned())
    }

    fn record(&self, prompt: &str, traces: &[Trace], texts: &[String], seconds: f64) -> Record {
        let first = &traces[0];
        let sample = |(trace, text): (&Trace, &String)| Sample {
            text: text.clone(),
            tokens: Some(trace.tokens.clone()),
            token_logprobs: Some(trace.logprobs.clone()),
            token_entropies: Some(trace.entropies.clone()),
            ..Sample::default()
        };
        Record {
            id: self.id(prompt),
            prompt: prompt.to_owned(),
            response: texts[0].clone(),
            tokens: Some(first.tokens.clone()),
            token_logprobs: Some(first.logprobs.clone()),
            token_entropies: Some(first.entropies.clone()),
            top_logprobs: Some(first.top_logprobs.clone()),
            samples: traces.iter().zip(texts).skip(1).map(sample).collect(),
            source: Some(json!({
                "model": self.model.model, "seed": self.seed, "samples": self.samples, "max_new_tokens": self.max_new_tokens,
                "temperature": self.sampling().temperature, "top_k": self.top_k, "top_p": self.top_p, "min_p": self.min_p,
                "repetition_penalty": self.repetition_penalty, "seconds": seconds,
            })),
            ..Record::default()
        }
    }
}

fn text_of(tokenizer: &Tokenizer, tokens: &[i64]) -> Result<String> {
    let ids: Vec<u32> = tokens.iter().filter_map(|&id| u32::try_from(id).ok()).collect();
    Ok(tokenizer.decode(&ids)?)
}
