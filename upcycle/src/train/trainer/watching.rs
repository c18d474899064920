//! What a run leaves behind for whoever watches it, and the watchdog that watches by itself.

use std::path::{Path, PathBuf};

use super::Trainer;
use crate::train::error::{Result, TrainError};
use crate::train::metrics::{self, Line, MetricsLog, StepMetrics, ValidationMetrics};
use crate::train::progress::Event;
use crate::train::recipe::{SpikeAction, TrainConfig};
use crate::train::tensorboard::EventFile;
use crate::train::watchdog::{Spike, Watchdog};

/// The records of a run: `metrics.jsonl`, and TensorBoard's event files where the recipe wants them.
pub(super) struct Records {
    log: MetricsLog,
    events: Option<EventFile>,
    watchdog: Watchdog,
}

impl Records {
    /// Opens the records of the run in `folder`, which goes on after step `done`: what they tell of later steps is taken back.
    pub(super) fn open(folder: &Path, done: u64, config: &TrainConfig) -> Result<Self> {
        let path = metrics_path(folder);
        let log = MetricsLog::open(&path, done)?;
        let watchdog = Watchdog::new(&config.watchdog, &metrics::read(&path)?);
        let events = config.log.tensorboard.then(|| EventFile::create(&folder.join("tensorboard"), done + 1));
        Ok(Self { log, events: events.transpose()?, watchdog })
    }

    /// Takes note of a step; what the watchdog says of it.
    pub(super) fn step(&mut self, found: StepMetrics) -> Result<Option<Spike>> {
        self.events.as_mut().map_or(Ok(()), |events| events.write_step(&found))?;
        let spike = self.watchdog.observe(&found);
        self.log.write(&Line::Step(Box::new(found)))?;
        Ok(spike)
    }

    /// Takes note of a measurement on held-out tokens.
    pub(super) fn validation(&mut self, found: ValidationMetrics) -> Result<()> {
        self.events.as_mut().map_or(Ok(()), |events| events.write_validation(&found))?;
        self.log.write(&Line::Validation(found))
    }

    /// Makes the metrics durable, as must be before a checkpoint claims their steps.
    pub(super) fn sync(&self) -> Result<()> {
        self.log.sync()
    }
}

impl Trainer {
    /// Says that a loss left its course, or ends the run, as the recipe wants it.
    pub(super) fn heed(&self, spike: Option<Spike>, progress: &mut dyn FnMut(&Event)) -> Result<()> {
        let Some(spike) = spike else { return Ok(()) };
        let error = self.spiked(spike)?;
        if self.config.watchdog.action == SpikeAction::Stop {
            return Err(error);
        }
        progress(&Event::Note { text: &error.to_string() });
        Ok(())
    }

    fn spiked(&self, Spike { what, step, first, value, median }: Spike) -> Result<TrainError> {
        let documents = self.batches.clone().documents(first);
        Ok(TrainError::Spike { what, step, first, value, median, documents, checkpoint: self.older_than(first)? })
    }
}

/// Where the metrics of the run in `folder` stand.
pub(super) fn metrics_path(folder: &Path) -> PathBuf {
    folder.join("metrics.jsonl")
}
