//! TensorBoard event files: the scalars of every step and the experts' loads, for whoever watches runs there.
//!
//! A file belongs to one process. One that resumes a run begins a file of its own with the mark that makes TensorBoard hide what earlier
//! files say of the steps that are taken again (`SessionLog::START` in `event_accumulator.py`), so that no curve runs back on itself.

mod message;
mod record;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub use self::message::{Event, Histogram, Value, What};
pub use self::record::framed;
use super::error::{Result, TrainError};
use super::metrics::{ExpertLoad, StepMetrics, ValidationMetrics};

/// Version that TensorBoard's reader expects: from 2 on, restarts are marked.
const FILE_VERSION: &str = "brain.Event:2";

/// An event file, open for appending.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins a file in `folder`, which is made where it is absent. `first` is the first step that will be written: what earlier files of
    /// the folder say of it and of later steps is hidden.
    ///
    /// # Errors
    /// When the folder or the file cannot be made.
    pub fn create(folder: &Path, first: u64) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|source| TrainError::io(folder, source))?;
        let path = folder.join(file_name());
        let opened = OpenOptions::new().append(true).create_new(true).open(&path);
        let file = opened.map_err(|source| TrainError::io(&path, source))?;
        let mut events = Self { path, file };
        events.write(0, What::FileVersion(FILE_VERSION.into()))?;
        events.write(first, What::SessionStart)?;
        Ok(events)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one event of `step`, at the present time.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&mut self, step: u64, what: What) -> Result<()> {
        let event = Event { wall_time: since_epoch().as_secs_f64(), step, what };
        self.file.write_all(&framed(&event.encoded())).map_err(|source| TrainError::io(&self.path, source))
    }

    /// Appends what a step found.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_step(&mut self, metrics: &StepMetrics) -> Result<()> {
        self.write(metrics.step, What::Summary(step_values(metrics)))
    }

    /// Appends a measurement on held-out tokens.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_validation(&mut self, found: &ValidationMetrics) -> Result<()> {
        let values = vec![
            Value::scalar("validation/loss", found.validation.loss),
            Value::scalar("validation/perplexity", found.validation.perplexity),
        ];
        self.write(found.step, What::Summary(values))
    }
}

/// `events.out.tfevents.<seconds>.coppice.<process>.<nanoseconds>`: TensorBoard reads the files of a folder in the order of their names.
fn file_name() -> String {
    let now = since_epoch();
    format!("events.out.tfevents.{:010}.coppice.{}.{:09}", now.as_secs(), std::process::id(), now.subsec_nanos())
}

fn since_epoch() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The scalars of a step, and of every layer whose load it has a histogram with one bar an expert.
fn step_values(metrics: &StepMetrics) -> Vec<Value> {
    let scalars = [
        ("train/loss", Some(metrics.loss)),
        ("train/learning_rate", Some(metrics.lr)),
        ("train/gradient_norm", Some(metrics.grad_norm)),
        ("train/tokens_per_second", Some(metrics.tokens_per_second)),
        ("train/flops_per_second", metrics.flops_per_second),
        ("train/mfu", metrics.mfu),
        ("train/peak_memory_bytes", metrics.peak_memory_bytes.map(|bytes| bytes as f64)),
        ("router/balance_loss", metrics.balance),
        ("router/z_loss", metrics.z),
        ("router/gradient_norm", metrics.router_grad_norm),
    ];
    let scalars = scalars.into_iter().filter_map(|(tag, value)| value.map(|value| Value::scalar(tag, value)));
    scalars.chain(metrics.expert_load.iter().flatten().flat_map(layer_values)).collect()
}

fn layer_values(load: &ExpertLoad) -> Vec<Value> {
    let tag = |name: &str| format!("{name}/layer_{:02}", load.layer);
    let optional = [
        ("expert_load_entropy", load.load_entropy),
        ("expert_dead", load.dead.map(|dead| dead as f64)),
        ("expert_drop_rate", load.drop_rate),
        ("expert_similarity", load.similarity),
    ];
    let scalars = optional.into_iter().filter_map(|(name, value)| value.map(|value| Value::scalar(&tag(name), value)));
    let bars = Value::Histogram { tag: tag("expert_load"), histogram: Histogram::of_experts(&load.share) };
    scalars.chain([bars]).collect()
}
