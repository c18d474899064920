//! `coppice eval`: benchmark tasks.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use coppice_models::chat::stop_ids;
use coppice_models::fs::{Existing, write_atomic};
use coppice_models::tokenizer::Tokenizer;
use coppice_models::{Checkpoint, Model};
use serde_json::{Value, json};

use crate::common::{Causality, Compute, ModelArgs, Outcome, is_interruption, refuse_existing};
use crate::eval::asking::Asking;
use crate::eval::builtin;
use crate::eval::encode::Encoder;
use crate::eval::ledger::Ledger;
use crate::eval::run::{Sample, TaskResult, Wish, run};
use crate::eval::task::Task;
use crate::eval::{Outcome as Told, Question};
use crate::{jsonl, output};

/// Measures a model on benchmark tasks, read from local files; a task that cannot be run is said, the others are done, exit 1.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Checkpoint folder, or the ID of a pulled one.
    #[arg(long, value_name = "DIR")]
    model: Option<String>,
    #[command(flatten)]
    compute: Compute,
    #[command(flatten)]
    causality: Causality,
    /// Tasks: names (see --list), TOML files of your own, or TASK@DATA for rows of another file of the same form (truthfulqa_mc2@truthfulqa_es).
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    tasks: Vec<String>,
    /// Results, one JSON object; an interrupted evaluation of the same settings goes on where it stopped.
    #[arg(long, value_name = "F.json")]
    output: Option<PathBuf>,
    /// Folder of the tasks' files: NAME.jsonl, .jsonl.zst, .json, .csv or .parquet, in it or in its eval/.
    #[arg(long, value_name = "DIR", env = "COPPICE_DATA", default_value = "../shared/data")]
    data: PathBuf,
    /// Examples before each question, in place of the tasks' own number.
    #[arg(long, value_name = "N")]
    shots: Option<usize>,
    /// Only the first N rows of each task: for testing, marked so in the results.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Write beside the results what the model made of each row, OUTPUT with .samples.jsonl.
    #[arg(long)]
    log_samples: bool,
    /// Replace the output if it exists.
    #[arg(long)]
    overwrite: bool,
    /// List the tasks that come with the program.
    #[arg(long)]
    list: bool,
    /// Print the results as one JSON object.
    #[arg(long)]
    json: bool,
}

/// A task that was asked for, or why there is none.
type Asked = (String, Result<(Task, Wish)>);

/// Results by the name they were asked for under, and why others have none.
#[derive(Default)]
struct Found {
    results: Vec<(String, TaskResult, Vec<Sample>)>,
    failed: Vec<(String, String)>,
}

impl EvalArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        if self.list {
            return list();
        }
        let (Some(model), Some(path)) = (&self.model, &self.output) else {
            bail!("--model DIR, --tasks A,B and --output F.json are needed (or --list)")
        };
        let model = ModelArgs { model: model.clone(), compute: self.compute.clone() };
        refuse_existing(path, self.overwrite)?;
        let tasks: Vec<Asked> = self.tasks.iter().map(|name| (name.clone(), self.task(name))).collect();
        match tasks.iter().find_map(|(_, task)| task.as_ref().err()) {
            Some(error) if tasks.iter().all(|(_, task)| task.is_err()) => bail!("{error:#}"),
            None if tasks.is_empty() => bail!("--tasks A,B is needed; --list names those there are"),
            _ => {}
        }
        let checkpoint = model.open()?;
        self.causality.check(&checkpoint.config)?;
        let tokenizer = Tokenizer::load(&checkpoint.folder)?;
        let (_, loaded) = model.load()?;
        let settings =
            json!({ "model": model.model, "weights": weights(&checkpoint)?, "kind": format!("{:?}", loaded.kind()), "data": self.data });
        let mut ledger = Ledger::open(path, &settings)?;
        let found = self.evaluate(&asking(&loaded, &checkpoint, &tokenizer)?, tasks, &mut ledger)?;
        self.write(path, &settings, &found)?;
        ledger.close()?;
        self.print(&found, &settings)
    }

    fn task(&self, name: &str) -> Result<(Task, Wish)> {
        let (name, data) = name.split_once('@').map_or((name, None), |(name, data)| (name, Some(data.to_owned())));
        Ok((Task::find(name)?, Wish { shots: self.shots, data, limit: self.limit }))
    }

    fn evaluate(&self, asking: &Asking, tasks: Vec<Asked>, ledger: &mut Ledger) -> Result<Found> {
        let mut found = Found::default();
        for (name, task) in tasks {
            match task.and_then(|(task, wish)| run(asking, &task, &wish, &self.data, ledger)) {
                Ok((result, samples)) => found.results.push((name, result, samples)),
                Err(error) if is_interruption(&error) => return Err(error),
                Err(error) => {
                    output::say(format!("{name}: {error:#}"));
                    found.failed.push((name, format!("{error:#}")));
                }
            }
        }
        Ok(found)
    }

    fn write(&self, path: &std::path::Path, settings: &Value, found: &Found) -> Result<()> {
        if self.log_samples {
            let lines = found.results.iter().flat_map(|(name, _, samples)| samples.iter().map(move |sample| line(name, sample)));
            jsonl::write(&path.with_extension("samples.jsonl"), Existing::Replace, lines)?;
        }
        Ok(write_atomic(path, serde_json::to_string_pretty(&document(settings, found))?.as_bytes())?)
    }

    fn print(&self, found: &Found, settings: &Value) -> Result<Outcome> {
        if self.json {
            output::json(&document(settings, found))?;
        } else {
            found.results.iter().flat_map(|(name, result, _)| table(name, result)).try_for_each(output::line)?;
        }
        let whole = found.failed.is_empty() && found.results.iter().all(|(_, result, _)| result.failed.is_empty());
        Ok(if whole { Outcome::Done } else { Outcome::No })
    }
}

fn list() -> Result<Outcome> {
    for name in builtin::names() {
        output::line(format!("{name:<18} {}", Task::find(name)?.about))?;
    }
    Ok(Outcome::Done)
}

fn asking<'a>(model: &'a Model, checkpoint: &Checkpoint, tokenizer: &'a Tokenizer) -> Result<Asking<'a>> {
    let config = &model.config;
    let begin = config.bos_token_id.or(config.eos_token_ids.first().copied()).context("the model has no id that begins a text")?;
    let limit = usize::try_from(config.max_position_embeddings).unwrap_or(usize::MAX);
    Ok(Asking {
        model,
        encoder: Encoder { tokenizer, begin, limit },
        stop_ids: stop_ids(&checkpoint.folder, &config.eos_token_ids, Some(tokenizer))?,
        banned_ids: tokenizer.unused_ids(config.vocab_size),
    })
}

/// What tells one checkpoint's weights from another's: names, sizes and times of its files.
fn weights(checkpoint: &Checkpoint) -> Result<String> {
    let mut files: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(&checkpoint.folder).with_context(|| format!("cannot read {}", checkpoint.folder.display()))? {
        let (entry, path) = entry.and_then(|entry| Ok((entry.metadata()?, entry.path())))?;
        let changed = entry.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
        files.push(format!("{:?} {} {changed}", path.file_name(), entry.len()));
    }
    files.sort();
    Ok(blake3::hash(files.join("\n").as_bytes()).to_hex()[..16].to_owned())
}

fn document(settings: &Value, found: &Found) -> Value {
    let results: serde_json::Map<_, _> = found.results.iter().map(|(name, result, _)| (name.clone(), json!(result))).collect();
    let failed: serde_json::Map<_, _> = found.failed.iter().map(|(name, error)| (name.clone(), json!(error))).collect();
    json!({ "results": results, "failed": failed, "settings": settings, "program": concat!("coppice ", env!("CARGO_PKG_VERSION")) })
}

/// A sample as it is logged.
fn line(task: &str, sample: &Sample) -> Value {
    let (asked, right) = match &sample.item.question {
        Question::Pairs { pairs, gold, .. } => (json!(pairs), json!(gold)),
        Question::Text(text) => (json!(text), Value::Null),
        Question::Prompt { context, answer } => (json!(context), json!(answer)),
    };
    let told = match &sample.kept.outcome {
        Told::Pairs { logprobs, greedy } => json!({ "logprobs": logprobs, "greedy": greedy }),
        other => json!(other),
    };
    json!({ "task": task, "row": sample.item.row, "group": sample.item.group, "asked": asked, "right": right, "told": told, "truncated": sample.kept.cut })
}

fn table(name: &str, result: &TaskResult) -> Vec<String> {
    let shown = |(metric, figure): (&String, &crate::eval::Figure)| {
        let error = figure.stderr.map_or(String::new(), |error| format!(" +- {error:.4}"));
        format!("{name:<28} {metric:<16} {:>9.4}{error}", figure.value)
    };
    let TaskResult { n, shots, truncated, failed, testing_only, .. } = result;
    let cut = if *truncated > 0 { format!(", {truncated} cut to the model's context") } else { String::new() };
    let bad =
        failed.first().map_or(String::new(), |first| format!(", {} failed (the first, row {}: {})", failed.len(), first.row, first.error));
    let testing = if *testing_only { "; some rows only: for testing" } else { "" };
    let rows = format!("{name:<28} {n} rows, {shots} examples{cut}{bad}{testing}");
    result.figures.iter().map(shown).chain([rows]).collect()
}
