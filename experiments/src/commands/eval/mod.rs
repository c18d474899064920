//! `coppice eval`: benchmark tasks, with the prompts and the arithmetic of lm-eval.

mod judge;
mod report;
mod work;

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::Args;

use self::judge::JudgeArgs;
use self::report::Report;
use self::work::Work;
use crate::common::{Causality, Compute, ModelArgs, Outcome, refuse_existing};
use crate::eval::answers::Marker;
use crate::eval::items::{Choices, items};
use crate::eval::registry;
use crate::eval::run::Prepared;
use crate::eval::task::Sampler;
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
        Work { arguments: self, model, checkpoint, tasks }.perform(Report::new(output.clone(), self))
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
