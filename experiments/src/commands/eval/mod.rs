//! `coppice eval`: benchmark tasks, with the prompts and the arithmetic of lm-eval.

mod judge;
mod report;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use coppice_models::chat::{self, ChatTemplate};
use coppice_models::tokenizer::Tokenizer;
use coppice_models::{Checkpoint, Model};
use serde_json::json;

use self::judge::JudgeArgs;
use self::report::Report;
use crate::common::{Causality, Compute, ModelArgs, Outcome, refuse_existing};
use crate::eval::answers::Marker;
use crate::eval::cache::Cache;
use crate::eval::encode::Encoder;
use crate::eval::items::{Choices, items};
use crate::eval::judged;
use crate::eval::run::{Evaluator, Marked, Prepared};
use crate::eval::task::{Kind, Sampler};
use crate::eval::{registry, results};
use crate::output;

/// Evaluates a model on benchmark tasks, with the prompts, metrics and standard errors of lm-eval 0.4.13. What prompts share (examples, an item's
/// context) is computed once. A bad item is told with its id, a task that cannot be run with one sentence, the rest is done, exit 1; so is a prompt
/// that exceeds the model's context, which is cut on the left and counted. Answers are kept as they come: after Ctrl-C or a crash --resume goes on.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Checkpoint folder, or the ID of a pulled one.
    #[arg(long, value_name = "DIR", required_unless_present = "list")]
    model: Option<String>,
    #[command(flatten)]
    compute: Compute,
    #[command(flatten)]
    causality: Causality,
    /// Names of tasks, or paths of task files (.toml).
    #[arg(long, value_name = "A,B", value_delimiter = ',', required_unless_present = "list")]
    tasks: Vec<String>,
    /// Folder with the data: JSON lines, CSV, Parquet or text, packed with Zstandard or not. A task names its files under it.
    #[arg(long, value_name = "DIR", default_value = ".")]
    data: PathBuf,
    /// Results, as JSON.
    #[arg(long, value_name = "F.json", required_unless_present_any = ["list", "dry_run"])]
    output: Option<PathBuf>,
    /// Write every item with its prompt, scores and marks to F.samples.jsonl.
    #[arg(long)]
    log_samples: bool,
    /// The first N items of each task, of each group where it has groups. For testing: the results say so.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Examples before every item. Default: the task's number.
    #[arg(long, value_name = "N")]
    shots: Option<usize>,
    /// How examples are chosen: random (lm-eval's default, anew for every item) or first_n (the same for all items, computed once). Default: the task's way.
    #[arg(long, value_name = "WAY", hide_possible_values = true)]
    sampler: Option<Sampler>,
    /// Seed of the draws of examples (1234 is lm-eval's).
    #[arg(long, default_value_t = 1234)]
    seed: u64,
    #[command(flatten)]
    judge: JudgeArgs,
    /// Go on where an interrupted run stopped.
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Replace the output if it exists, and forget an interrupted run.
    #[arg(long)]
    overwrite: bool,
    /// Read tasks and data and say what would be asked; nothing is computed or written.
    #[arg(long)]
    dry_run: bool,
    /// List the tasks.
    #[arg(long)]
    list: bool,
    /// Print the results as one JSON object.
    #[arg(long)]
    json: bool,
}

/// A task by its name in the results, or why it cannot be run.
type Tasks = Vec<(String, Result<Prepared, String>)>;

impl EvalArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        if self.list {
            return self.print_list();
        }
        let model = ModelArgs { model: self.model.clone().unwrap_or_default(), compute: self.compute.clone() };
        if let Some(output) = self.output.as_ref().filter(|_| !self.resume && !self.dry_run) {
            refuse_existing(output, self.overwrite)?;
        }
        let checkpoint = model.open()?;
        self.causality.check(&checkpoint.config)?;
        let tasks = self.prepared()?;
        if self.dry_run {
            return self.print_plan(&tasks);
        }
        let output = self.output.as_ref().ok_or_else(|| anyhow!("--output is missing"))?;
        self.evaluate(&model, &checkpoint, &tasks, Report::new(output.clone(), self))
    }

    fn prepared(&self) -> Result<Tasks> {
        if !self.data.is_dir() {
            bail!("--data {} is no folder", self.data.display());
        }
        let tasks: Tasks = self.tasks.iter().map(|name| (registry::title(name), self.prepare(name))).collect();
        if let Some((name, _)) =
            tasks.iter().enumerate().find(|(place, (name, _))| tasks[..*place].iter().any(|(before, _)| before == name))
        {
            bail!("--tasks names {} twice", tasks[name].0);
        }
        let complain = |(name, task): &(String, Result<Prepared, String>)| task.as_ref().err().map(|why| said(name, why));
        tasks.iter().filter_map(complain).for_each(output::say);
        Ok(tasks)
    }

    fn prepare(&self, name: &str) -> Result<Prepared, String> {
        let task = registry::find(name)?;
        let items = items(&task, &self.data, &self.choices())?;
        let marker = Marker::new(&task.filters, &task.compare)?;
        Ok(Prepared { name: registry::title(name), task, items, marker })
    }

    fn choices(&self) -> Choices {
        let limit = self.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Choices { shots: self.shots, sampler: self.sampler, seed: self.seed, limit }
    }

    fn evaluate(&self, model: &ModelArgs, checkpoint: &Checkpoint, tasks: &Tasks, mut report: Report) -> Result<Outcome> {
        let tokenizer = Tokenizer::load(&checkpoint.folder)?;
        let encoder = Encoder::new(&tokenizer, &checkpoint.config).map_err(|why| anyhow!(why))?;
        let stop_ids = chat::stop_ids(&checkpoint.folder, &checkpoint.config.eos_token_ids, Some(&tokenizer))?;
        let judge = if asks_judge(tasks) { Some(self.judge.open()) } else { None };
        let device = model.compute.device()?;
        let kind = model.compute.kind(checkpoint)?;
        let settings = json!({ "model": model.model, "files": checkpoint_files(checkpoint)?, "kind": format!("{kind:?}") });
        let cache = Cache::open(report.path(), &settings, self.resume, self.overwrite)?;
        let loaded = if tasks.iter().any(|(_, task)| task.is_ok()) { Some(Model::load(checkpoint, kind, device)?) } else { None };
        report.of_model(&model.model, kind, device);
        let mut kept = cache;
        if let Some(loaded) = &loaded {
            let mut evaluator = Evaluator { model: loaded, tokenizer: &tokenizer, encoder, stop_ids, cache: kept };
            for (name, task) in tasks {
                self.run_task(&mut evaluator, name, task, &checkpoint.folder, judge.as_ref(), &mut report)?;
            }
            kept = evaluator.cache;
        } else {
            tasks.iter().for_each(|(name, task)| report.refused(name, task.as_ref().err().map_or("", String::as_str)));
        }
        report.write(kept, self.log_samples, self.json)
    }

    fn run_task(
        &self,
        evaluator: &mut Evaluator,
        name: &str,
        task: &Result<Prepared, String>,
        folder: &std::path::Path,
        judge: Option<&Result<judged::Judge>>,
        report: &mut Report,
    ) -> Result<()> {
        let start = Instant::now();
        let prepared = match task {
            Ok(prepared) => prepared,
            Err(why) => {
                report.refused(name, why);
                return Ok(());
            }
        };
        let marked = match prepared.task.kind {
            Kind::Judged => ask_judge(evaluator, prepared, folder, judge),
            _ => evaluator.evaluate(prepared),
        };
        match marked {
            Ok(marked) => self.told(prepared, &marked, start.elapsed().as_secs_f64(), report),
            Err(error) if of_the_task(&error) => {
                let why = format!("{error:#}");
                output::say(said(name, &why));
                report.refused(name, &why);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn told(&self, prepared: &Prepared, marked: &[Marked], seconds: f64, report: &mut Report) {
        let (task, shots) = (&prepared.task, self.shots.unwrap_or(prepared.task.shots));
        let sampler = self.sampler.unwrap_or(task.examples.sampler);
        let results = results::summarise(prepared, marked, shots, sampler, seconds);
        let samples = prepared.items.iter().zip(marked).map(|(item, marked)| results::sample(prepared, item, marked));
        report.add(&prepared.name, results, if self.log_samples { samples.collect() } else { Vec::new() });
    }

    fn print_plan(&self, tasks: &Tasks) -> Result<Outcome> {
        for (name, task) in tasks {
            if let Ok(prepared) = task {
                let bad = prepared.items.iter().filter(|item| item.question.as_ref().is_err_and(|why| !why.is_empty())).count();
                let shots = self.shots.unwrap_or(prepared.task.shots);
                output::line(format!("{name}: {} items, {bad} of them bad, {shots} examples before each", prepared.items.len()))?;
            }
        }
        Ok(if tasks.iter().all(|(_, task)| task.is_ok()) { Outcome::Done } else { Outcome::No })
    }

    fn print_list(&self) -> Result<Outcome> {
        for name in registry::names() {
            let task = registry::find(name).map_err(|why| anyhow!(why))?;
            let metrics: Vec<&str> = task.metrics.iter().map(|metric| metric.name()).collect();
            output::line(format!("{name:<24} {} {} Shots: {}. Data: {}.", task.about, metrics.join(", "), task.shots, task.data.items))?;
        }
        Ok(Outcome::Done)
    }
}

fn said(name: &str, why: &str) -> String {
    let named = ["task ", "unknown task ", "cannot read task "].iter().any(|begin| why.starts_with(begin));
    if named { format!("coppice: {why}") } else { format!("coppice: task {name}: {why}") }
}

fn asks_judge(tasks: &Tasks) -> bool {
    tasks.iter().any(|(_, task)| task.as_ref().is_ok_and(|prepared| prepared.task.kind == Kind::Judged))
}

/// The weights that answers depend on: name and length of each file.
fn checkpoint_files(checkpoint: &Checkpoint) -> Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&checkpoint.folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".safetensors") || name == "config.json" || name == "tokenizer.json" {
            files.push((name, std::fs::metadata(entry.path())?.len()));
        }
    }
    files.sort();
    Ok(files)
}

fn ask_judge(
    evaluator: &mut Evaluator,
    prepared: &Prepared,
    folder: &std::path::Path,
    judge: Option<&Result<judged::Judge>>,
) -> Result<Vec<Marked>> {
    let judge = match judge {
        Some(Ok(judge)) => judge,
        Some(Err(error)) => return Err(TaskFault(format!("{error:#}")).into()),
        None => return Err(TaskFault("it needs a judge; --judge names a server".into()).into()),
    };
    let template = ChatTemplate::load(folder).map_err(|error| TaskFault(error.to_string()))?;
    judged::evaluate(evaluator, prepared, &template, judge)
}

/// Why one task has no results, where others may have.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct TaskFault(String);

fn of_the_task(error: &anyhow::Error) -> bool {
    error.is::<TaskFault>() || error.is::<coppice_models::Error>()
}
