//! `coppice merge-experts`: a mixture of experts becomes a plain dense StableLM 2 that any tool reads.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use coppice_models::checkpoint::kind_of;
use coppice_models::device::{DeviceChoice, Dtype};
use coppice_models::tokenizer::Tokenizer;
use coppice_models::{Checkpoint, Model};
use coppice_upcycle::inspect::{loads, routed};
use coppice_upcycle::merge::{Manifest, Options, Weights, forecast, merge_experts};
use serde_json::json;
use tch::Kind;

use super::inspect::read_documents;
use crate::common::{Outcome, interrupted, open_device, progress, refuse_existing, resolve_model};
use crate::output;

/// Averages the experts of every layer into one dense MLP, streaming; right after `copy`, `shuffle`
/// or exact virtual groups that is the model it came from.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// Routed checkpoint folder, or the ID of a pulled one.
    #[arg(long, value_name = "DIR")]
    model: String,
    /// Folder to write.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// How much each expert counts: all alike, or by the share of the tokens of a text it gets.
    #[arg(long, value_enum, default_value_t = Weighting::Average, value_name = "WEIGHTS")]
    weights: Weighting,
    /// Text the load is measured on: .txt or .jsonl with "text" (or .zst of these).
    #[arg(long, value_name = "FILE", num_args = 1..)]
    text: Vec<PathBuf>,
    /// Tokens the load is measured on at most.
    #[arg(long, default_value_t = 32_768, value_name = "N")]
    max_tokens: usize,
    /// Device the load is measured on: auto, cpu or cuda:N.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,
    /// Element type of the output: f32 or bf16. Default: that of the input.
    #[arg(long, value_name = "DTYPE")]
    dtype: Option<Dtype>,
    /// Largest weights file in bytes.
    #[arg(long, default_value_t = 5_000_000_000, value_name = "BYTES")]
    max_shard_bytes: u64,
    /// Replace the output if it exists.
    #[arg(long)]
    overwrite: bool,
    /// Check everything, say what would be written, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// How much each expert counts in the mean. No sentence for each value: clap would set the whole help in another layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Weighting {
    Average,
    Load,
}

impl MergeArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        refuse_existing(&self.output, self.overwrite || self.dry_run)?;
        self.check_text()?;
        let source = Checkpoint::open(resolve_model(&self.model)?)?;
        let plain = Options {
            dtype: self.dtype.map(stored),
            max_shard_bytes: self.max_shard_bytes,
            overwrite: self.overwrite,
            ..Options::default()
        };
        let forecast = forecast(&source, &plain)?;
        if self.dry_run {
            let told = if self.json { serde_json::to_string(&forecast)? } else { serde_json::to_string_pretty(&forecast)? };
            output::line(told)?;
            return Ok(Outcome::Done);
        }
        let options = Options { weights: self.measured(&source)?, ..plain };
        self.print(&self.merge(&source, &options)?)?;
        Ok(Outcome::Done)
    }

    fn check_text(&self) -> Result<()> {
        match (self.weights, self.text.is_empty()) {
            (Weighting::Load, true) => bail!("--weights load needs --text, the text the load is measured on"),
            (Weighting::Average, false) => bail!("--text is only read with --weights load"),
            _ => Ok(()),
        }
    }

    fn measured(&self, source: &Checkpoint) -> Result<Weights> {
        if self.weights == Weighting::Average {
            return Ok(Weights::Average);
        }
        routed(&source.config)?;
        let documents = read_documents(&self.text, &Tokenizer::load(&source.folder)?, self.max_tokens)?;
        let device = open_device(self.device)?;
        let stored = kind_of(source.dtype())?;
        let model = Model::load(source, if stored == Kind::Half { Kind::Float } else { stored }, device)?;
        Ok(Weights::Load(loads(&model, &documents, interrupted())?))
    }

    fn merge(&self, source: &Checkpoint, options: &Options) -> Result<Manifest> {
        let bar = progress(0, "merge");
        let mut told = |at: coppice_upcycle::convert::Progress| {
            bar.set_length(at.total >> 20);
            bar.set_position(at.written >> 20);
            bar.set_message("MiB");
        };
        let manifest = merge_experts(source, options, &self.output, &mut told, interrupted())?;
        bar.finish_and_clear();
        Ok(manifest)
    }

    fn print(&self, manifest: &Manifest) -> Result<()> {
        if self.json {
            return output::json(&json!({ "output": self.output, "manifest": manifest }));
        }
        let (experts, width) = (manifest.experts, manifest.intermediate_size);
        let merged = manifest.layers.iter().filter(|layer| layer.dense == 0).count();
        let (place, parameters) = (self.output.display(), manifest.parameters);
        output::line(format!("{place}: {parameters} parameters, {experts} experts of {merged} layers merged into MLPs of {width} units"))?;
        manifest.notes.iter().try_for_each(|note| output::line(format!("  note: {note}")))
    }
}

/// The file's name of a computing type.
fn stored(dtype: Dtype) -> safetensors::Dtype {
    match dtype {
        Dtype::F32 => safetensors::Dtype::F32,
        Dtype::Bf16 => safetensors::Dtype::BF16,
    }
}
