//! `coppice upcycle`: a dense checkpoint becomes a mixture of experts, with a report on what that preserved.

mod choices;
mod data;
mod growth;
mod router;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use coppice_models::device::Dtype;
use coppice_models::fs::LeftOver;
use coppice_models::{Checkpoint, Gate};
use coppice_upcycle::card;
use coppice_upcycle::convert::options::default_jobs;
use coppice_upcycle::convert::{ConvertError, LayerSelection, Manifest, Options, Sources, forecast, left_over, upcycle};
use coppice_upcycle::methods;
use coppice_upcycle::step0::{DEFAULT_TOKENS, Probe, Step0, compare};
use serde_json::json;

use self::growth::GrowthArgs;
use self::router::RouterArgs;
use crate::common::{Interrupted, Outcome, interrupted, progress, refuse_existing, resolve_model};
use crate::output;

/// Grows the dense MLPs of a StableLM 2 into routed experts, streaming, and reports what the conversion preserved.
#[derive(Debug, Args)]
#[command(after_help = choices::listed())]
pub struct UpcycleArgs {
    /// Dense checkpoint folder, or the ID of a pulled one.
    #[arg(long, value_name = "DIR")]
    model: String,
    /// Folder to write.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// How experts are made; see below.
    #[arg(long, default_value = "copy", value_name = "METHOD")]
    method: String,
    /// Routed experts per converted layer. Default: 8; for branch_train_mix the number of checkpoints.
    #[arg(long, value_name = "N")]
    experts: Option<i64>,
    /// Experts each token is sent to.
    #[arg(long, default_value_t = 2, value_name = "K")]
    top_k: i64,
    /// How router logits become weights; see below.
    #[arg(long, default_value = "topk_softmax", value_name = "GATE")]
    gate: Gate,
    /// Which layers: all, alternate, first:k, last:k, or a list i,j.
    #[arg(long, default_value = "all", value_name = "LAYERS")]
    layers: LayerSelection,
    #[command(flatten)]
    growth: GrowthArgs,
    #[command(flatten)]
    router: RouterArgs,
    /// Seed of the draws.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Element type of the output: f32 or bf16. Default: that of the input.
    #[arg(long, value_name = "DTYPE")]
    dtype: Option<Dtype>,
    /// Largest weights file in bytes.
    #[arg(long, default_value_t = 5_000_000_000, value_name = "BYTES")]
    max_shard_bytes: u64,
    /// Text the step-0 report is made on; default: seeded random ids.
    #[arg(long, value_name = "FILE")]
    report_text: Option<PathBuf>,
    /// Tokens the step-0 report is made on.
    #[arg(long, default_value_t = DEFAULT_TOKENS, value_name = "N")]
    report_tokens: usize,
    /// Leave the step-0 report out.
    #[arg(long, conflicts_with = "report_text")]
    no_report: bool,
    /// Replace the output if it exists.
    #[arg(long)]
    overwrite: bool,
    /// Go on with a conversion that was stopped, after its last finished file.
    #[arg(long)]
    resume: bool,
    /// Tensors made and written at once; the result is the same for any number. Default: as many as there are processors.
    #[arg(long, default_value_t = default_jobs(), hide_default_value = true, value_name = "N")]
    jobs: usize,
    /// Check everything, say what would be written, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl UpcycleArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        refuse_existing(&self.output, self.overwrite || self.dry_run)?;
        let dense = Checkpoint::open(resolve_model(&self.model)?)?;
        let probe = self.probe(&dense)?;
        probe.sequences(&dense.config)?;
        let options = self.options(&dense)?;
        let branches = options.branches.iter().map(|folder| Ok(Checkpoint::open(folder)?)).collect::<Result<Vec<_>>>()?;
        let sources = Sources::new(&dense, &branches)?;
        branches.iter().for_each(|branch| tell_other_tokenizer(&dense, branch));
        if self.dry_run {
            return self.tell(&sources, &options);
        }
        self.tell_left_over();
        let manifest = self.convert(&sources, &options)?;
        let report = if self.no_report { None } else { Some(self.compare(&dense, &probe)?) };
        self.print(&manifest, report.as_ref())?;
        Ok(Outcome::Done)
    }

    fn options(&self, dense: &Checkpoint) -> Result<Options> {
        let method = methods::find(&self.method)?;
        let mut options = Options {
            method: self.method.clone(),
            top_k: self.top_k,
            gate: self.gate,
            layers: self.layers.clone(),
            seed: self.seed,
            dtype: self.dtype.map(stored_as),
            max_shard_bytes: self.max_shard_bytes,
            overwrite: self.overwrite,
            resume: self.resume,
            jobs: self.jobs,
            ..Options::default()
        };
        self.growth.apply(method, &mut options)?;
        self.router.apply(dense, &mut options)?;
        options.experts = self.experts.unwrap_or_else(|| method.default_experts(&options));
        Ok(options)
    }

    /// What the report runs on, made before anything is written.
    fn probe(&self, dense: &Checkpoint) -> Result<Probe> {
        let Some(path) = &self.report_text else { return Ok(Probe::Random { tokens: self.report_tokens, seed: self.seed }) };
        Ok(Probe::Text(data::sequences(dense, path, self.report_tokens)?))
    }

    /// Says what becomes of what an earlier process left.
    fn tell_left_over(&self) {
        match left_over(&self.output) {
            LeftOver::Idle(path) if !self.resume => {
                output::say(format!("coppice: {} is what a stopped conversion left, it is begun anew (--resume goes on)", path.display()));
            }
            LeftOver::Nothing if self.resume => output::say("coppice: nothing to resume, the conversion begins"),
            _ => {}
        }
    }

    fn convert(&self, sources: &Sources, options: &Options) -> Result<Manifest> {
        let bar = progress(0, "upcycle");
        let mut told = |at: coppice_upcycle::convert::Progress| {
            bar.set_length(at.total >> 20);
            bar.set_position(at.written >> 20);
            bar.set_message("MiB");
        };
        let manifest = upcycle(sources, options, &self.output, &mut told, interrupted())?;
        bar.finish_and_clear();
        Ok(manifest)
    }

    fn compare(&self, dense: &Checkpoint, probe: &Probe) -> Result<Step0> {
        let bar = progress(dense.config.num_hidden_layers as u64, "step 0");
        let upcycled = Checkpoint::open(&self.output)?;
        let report = compare(dense, &upcycled, probe, &mut |done, _| bar.set_position(done as u64), interrupted()).map_err(stopped)?;
        bar.finish_and_clear();
        let path = self.output.join("step0.json");
        coppice_models::fs::write_atomic(&path, serde_json::to_string_pretty(&report)?.as_bytes()).context("the step-0 report")?;
        card::add_report(&self.output, &report)?;
        Ok(report)
    }

    fn tell(&self, sources: &Sources, options: &Options) -> Result<Outcome> {
        let plan = forecast(sources, options)?;
        if self.json {
            output::json(&plan)?;
        } else {
            output::line(serde_json::to_string_pretty(&plan)?)?;
        }
        Ok(Outcome::Done)
    }

    fn print(&self, manifest: &Manifest, report: Option<&Step0>) -> Result<()> {
        if self.json {
            return output::json(&json!({ "output": self.output, "manifest": manifest, "step0": report }));
        }
        output::line(format!("{}: {} parameters, {} layers converted", self.output.display(), manifest.parameters, manifest.layers.len()))?;
        report.map(Step0::lines).unwrap_or_default().into_iter().try_for_each(output::line)
    }
}

/// Says where a branch turns text into other ids than the model: its experts would read other words.
fn tell_other_tokenizer(model: &Checkpoint, branch: &Checkpoint) {
    let read = |checkpoint: &Checkpoint| std::fs::read(checkpoint.folder.join("tokenizer.json")).ok();
    if let (Some(ours), Some(theirs)) = (read(model), read(branch))
        && ours != theirs
    {
        let (one, other) = (model.folder.display(), branch.folder.display());
        output::say(format!("coppice: {other} has another tokenizer.json than {one}: make sure that equal ids mean equal words"));
    }
}

/// When the report is interrupted the conversion is done.
fn stopped(error: ConvertError) -> anyhow::Error {
    if matches!(error, ConvertError::Interrupted) { Interrupted::WithoutReport.into() } else { error.into() }
}

/// The file's name of a computing type.
fn stored_as(dtype: Dtype) -> safetensors::Dtype {
    match dtype {
        Dtype::F32 => safetensors::Dtype::F32,
        Dtype::Bf16 => safetensors::Dtype::BF16,
    }
}
