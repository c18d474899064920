//! `coppice inspect`: what the experts of a routed model became, measured on text.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use coppice_models::fs::{AtomicDir, Existing};
use coppice_models::tokenizer::Tokenizer;
use coppice_models::{Checkpoint, Model};
use coppice_upcycle::inspect::report::ExpertReport;
use coppice_upcycle::inspect::{self, BATCH_TOKENS, Document, Settings, Subject, check_parent, check_reference, routed, trend};

use crate::common::{ModelArgs, Outcome, interrupted, progress, refuse_existing, resolve_model};
use crate::output;

/// Measures on text what a model's experts became: load, dead experts, router entropy and saturation, co-activation, specialisation by
/// domain and by token, and how alike the experts' weights are.
#[derive(Debug, Args)]
pub struct InspectArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Text to measure on: .txt, or .jsonl with "text" and optional "domain" (or .zst of these). Of several files, each is a domain.
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "input", conflicts_with = "input")]
    text: Vec<PathBuf>,
    /// One corpus file; other commands name it so too.
    #[arg(long, value_name = "F.jsonl")]
    input: Option<PathBuf>,
    /// Tokens measured on at most, spread evenly over the files.
    #[arg(long, default_value_t = 32_768, value_name = "N")]
    max_tokens: usize,
    /// Tokens run at once, padding included.
    #[arg(long, default_value_t = BATCH_TOKENS, value_name = "N")]
    batch_tokens: usize,
    /// Routed checkpoint of the same shape, earlier or later in training: how many choices are the same (router saturation).
    #[arg(long, value_name = "DIR")]
    reference: Option<String>,
    /// Dense checkpoint the experts came from: how far they are from it.
    #[arg(long, value_name = "DIR")]
    dense: Option<String>,
    /// `metrics.jsonl` in the folder of the training run: how the experts developed.
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Folder for inspect.json and index.html.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replace the output if it exists.
    #[arg(long)]
    overwrite: bool,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
}

impl InspectArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        self.output.iter().try_for_each(|output| refuse_existing(output, self.overwrite))?;
        let checkpoint = self.model.open()?;
        routed(&checkpoint.config).with_context(|| self.model.model.clone())?;
        let over_training = self.metrics.as_deref().map_or(Ok(Vec::new()), trend::read)?;
        let tokenizer = Tokenizer::load(&checkpoint.folder)?;
        let documents = read_documents(self.files(), &tokenizer, self.max_tokens)?;
        let report = ExpertReport { over_training, ..self.measure(&checkpoint, &tokenizer, &documents)? };
        self.output.iter().try_for_each(|output| self.write(&report, output))?;
        self.print(&report)?;
        Ok(Outcome::Done)
    }

    fn files(&self) -> &[PathBuf] {
        self.input.as_ref().map_or(&self.text, std::slice::from_ref)
    }

    /// Everything that can be refused is refused before the weights are read.
    fn measure(&self, checkpoint: &Checkpoint, tokenizer: &Tokenizer, documents: &[Document]) -> Result<ExpertReport> {
        let moe = routed(&checkpoint.config)?;
        let reference = self.other(self.reference.as_ref())?;
        let dense = self.other(self.dense.as_ref())?;
        reference.iter().try_for_each(|other| check_reference(&checkpoint.config, moe, &other.config))?;
        dense.iter().try_for_each(|other| check_parent(&checkpoint.config, moe, &other.config))?;
        let model = self.load(checkpoint)?;
        let reference = reference.as_ref().map(|reference| self.load(reference)).transpose()?;
        let subject = Subject { model: &model, reference: reference.as_ref(), dense: dense.as_ref() };
        let token = |id: u32| tokenizer.bytes(id).map_or_else(|| format!("id {id}"), |bytes| String::from_utf8_lossy(&bytes).into_owned());
        let (name, text) = (name(&checkpoint.folder), self.described(documents));
        let settings = Settings { name, text, batch_tokens: self.batch_tokens, token: &token };
        let bar = progress(0, "inspect");
        let mut told = |done: usize, all: usize| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        };
        let report = inspect::inspect(&subject, documents, &settings, &mut told, interrupted())?;
        bar.finish_and_clear();
        Ok(report)
    }

    fn other(&self, name: Option<&String>) -> Result<Option<Checkpoint>> {
        name.map(|name| Ok(Checkpoint::open(resolve_model(name)?)?)).transpose()
    }

    fn load(&self, checkpoint: &Checkpoint) -> Result<Model> {
        let device = self.model.compute.device()?;
        Ok(Model::load(checkpoint, self.model.compute.kind(checkpoint)?, device)?)
    }

    /// The files' names, and whether they were cut off.
    fn described(&self, documents: &[Document]) -> String {
        let names: Vec<String> = self.files().iter().map(|path| name(path)).collect();
        let tokens: usize = documents.iter().map(|document| document.tokens.len()).sum();
        let cut = if tokens >= self.max_tokens { " (cut off there)" } else { "" };
        format!("{}{cut}", names.join(", "))
    }

    /// `inspect.json` and the page, whole or not at all.
    fn write(&self, report: &ExpertReport, output: &Path) -> Result<()> {
        let value = serde_json::to_value(report)?;
        let page = coppice_reports::render_experts_html(&serde_json::from_value(value.clone())?)?;
        let folder = AtomicDir::create(output, if self.overwrite { Existing::Replace } else { Existing::Refuse })?;
        coppice_models::fs::write_atomic(folder.path().join("inspect.json"), format!("{value:#}\n").as_bytes())?;
        coppice_models::fs::write_atomic(folder.path().join("index.html"), page.as_bytes())?;
        Ok(folder.commit()?)
    }

    fn print(&self, report: &ExpertReport) -> Result<()> {
        if self.json {
            return output::json(report);
        }
        report.lines().into_iter().try_for_each(output::line)?;
        self.output.iter().try_for_each(|folder| output::line(format!("written: {}", folder.join("index.html").display())))
    }
}

/// Tokenised text of the files.
pub(super) fn read_documents(files: &[PathBuf], tokenizer: &Tokenizer, limit: usize) -> Result<Vec<Document>> {
    let documents = inspect::read(files, tokenizer, limit)?;
    if documents.iter().all(|document| document.tokens.is_empty()) {
        bail!("the text gives no token to measure on");
    }
    Ok(documents)
}

/// The last part of a path.
fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
