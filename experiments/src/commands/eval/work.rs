//! The evaluation itself: one task after the other on one model.

use std::fs;
use std::time::Instant;

use anyhow::{Result, anyhow};
use coppice_models::chat::{self, ChatTemplate};
use coppice_models::tokenizer::Tokenizer;
use coppice_models::{Checkpoint, Model};
use serde_json::{Value, json};
use tch::{Device, Kind as Element};

use super::report::Report;
use super::{EvalArgs, Tasks, said};
use crate::common::{ModelArgs, Outcome};
use crate::eval::cache::Cache;
use crate::eval::encode::Encoder;
use crate::eval::run::{Evaluator, Marked, Prepared};
use crate::eval::task::Kind;
use crate::eval::{judged, results};
use crate::output;

/// What is to be done.
pub(super) struct Work<'a> {
    pub(super) arguments: &'a EvalArgs,
    pub(super) model: ModelArgs,
    pub(super) checkpoint: Checkpoint,
    pub(super) tasks: Tasks,
}

impl Work<'_> {
    /// Runs every task that can be run, and writes what came of all.
    pub(super) fn perform(&self, mut report: Report) -> Result<Outcome> {
        let device = self.model.compute.device()?;
        let element = self.model.compute.kind(&self.checkpoint)?;
        report.of_model(&self.model.model, element, device);
        let cache = Cache::open(report.path(), &self.settings(element)?, self.arguments.resume, self.arguments.overwrite)?;
        let cache = if self.tasks.iter().any(|(_, task)| task.is_ok()) {
            self.run_all(cache, element, device, &mut report)?
        } else {
            self.tasks
                .iter()
                .filter_map(|(name, task)| Some((name, task.as_ref().err()?)))
                .for_each(|(name, why)| report.refused(name, why));
            cache
        };
        report.write(cache, self.arguments.log_samples, self.arguments.json)
    }

    /// What answers depend on beside the question: the weights, by name and length of each file, and the precision.
    fn settings(&self, element: Element) -> Result<Value> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.checkpoint.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".safetensors") || name == "config.json" || name == "tokenizer.json" {
                files.push((name, fs::metadata(entry.path())?.len()));
            }
        }
        files.sort();
        Ok(json!({ "model": self.model.model, "files": files, "element": format!("{element:?}") }))
    }

    fn run_all(&self, cache: Cache, element: Element, device: Device, report: &mut Report) -> Result<Cache> {
        let folder = &self.checkpoint.folder;
        let tokenizer = Tokenizer::load(folder)?;
        let encoder = Encoder::new(&tokenizer, &self.checkpoint.config).map_err(|why| anyhow!(why))?;
        let stop_ids = chat::stop_ids(folder, &self.checkpoint.config.eos_token_ids, Some(&tokenizer))?;
        let model = Model::load(&self.checkpoint, element, device)?;
        let mut evaluator = Evaluator { model: &model, tokenizer: &tokenizer, encoder, stop_ids, cache };
        for (name, task) in &self.tasks {
            let start = Instant::now();
            match task {
                Ok(prepared) => match self.marked(&mut evaluator, prepared) {
                    Ok(marked) => self.add(prepared, &marked, start.elapsed().as_secs_f64(), report),
                    Err(error) if of_the_task(&error) => {
                        output::say(said(name, &format!("{error:#}")));
                        report.refused(name, &format!("{error:#}"));
                    }
                    Err(error) => return Err(error),
                },
                Err(why) => report.refused(name, why),
            }
        }
        Ok(evaluator.cache)
    }

    fn marked(&self, evaluator: &mut Evaluator, prepared: &Prepared) -> Result<Vec<Marked>> {
        if prepared.task.kind != Kind::Judged {
            return evaluator.evaluate(prepared);
        }
        let judge = self.arguments.judge.open().map_err(|error| TaskFault(format!("{error:#}")))?;
        let template = ChatTemplate::load(&self.checkpoint.folder).map_err(|error| TaskFault(error.to_string()))?;
        judged::evaluate(evaluator, prepared, &template, &judge)
    }

    fn add(&self, prepared: &Prepared, marked: &[Marked], seconds: f64, report: &mut Report) {
        let shots = self.arguments.shots.unwrap_or(prepared.task.shots);
        let sampler = self.arguments.sampler.unwrap_or(prepared.task.examples.sampler);
        let results = results::summarise(prepared, marked, shots, sampler, seconds);
        let samples = prepared.items.iter().zip(marked).map(|(item, marked)| results::sample(prepared, item, marked));
        report.add(&prepared.name, results, if self.arguments.log_samples { samples.collect() } else { Vec::new() });
    }
}

/// Why one task has no results, where others may have.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct TaskFault(String);

fn of_the_task(error: &anyhow::Error) -> bool {
    error.is::<TaskFault>() || error.is::<coppice_models::Error>()
}
