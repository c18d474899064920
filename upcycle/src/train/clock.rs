//! Measures throughput: of each step, and since this process began the run.

use std::time::{Duration, Instant};

use super::metrics::StepMetrics;
use super::progress::Progress;
use super::recipe::TrainConfig;

/// A stopwatch of one process's part of a run.
pub(super) struct Clock {
    began: Instant,
    ticked: Instant,
    first: u64,
    steps: u64,
    tokens_per_step: f64,
}

impl Clock {
    pub(super) fn new(first: u64, config: &TrainConfig) -> Self {
        let now = Instant::now();
        Self { began: now, ticked: now, first, steps: config.steps, tokens_per_step: config.tokens_per_step() as f64 }
    }

    /// Tokens per second of the step that just ended.
    pub(super) fn tick(&mut self) -> f64 {
        let seconds = self.ticked.elapsed().as_secs_f64();
        self.ticked = Instant::now();
        self.tokens_per_step / seconds.max(1e-9)
    }

    /// Where the run stands after a step.
    pub(super) fn progress(&self, metrics: &StepMetrics) -> Progress {
        let (done, left) = (metrics.step - self.first, self.steps - metrics.step);
        let rate = done as f64 / self.began.elapsed().as_secs_f64().max(1e-9); // steps per second
        Progress {
            step: metrics.step,
            steps: self.steps,
            loss: metrics.loss,
            lr: metrics.lr,
            tokens_per_second: rate * self.tokens_per_step,
            remaining: Duration::from_secs_f64(left as f64 / rate.max(1e-9)),
        }
    }
}
