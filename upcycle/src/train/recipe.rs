//! The settings of a training run, as a recipe states them. Unknown keys are refused.

mod numerics;
mod parallel;
mod router;
mod watchdog;

use serde::{Deserialize, Serialize};

pub use self::numerics::{Precision, Recompute};
pub use self::parallel::ParallelConfig;
pub use self::router::{LogConfig, LossConfig, RoutingConfig};
pub use self::watchdog::{SpikeAction, WatchdogConfig};
use super::error::{Result, TrainError};
use super::schedule::Schedule;

/// All settings of a run. Only `steps`, `sequence_length`, `batch_size` (or `batch_tokens`) and `schedule.peak` must be stated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimizer steps in all. Recipes of whole experiments may leave it out, for one pass over their tokens.
    #[serde(default)]
    pub steps: u64,
    /// `S`, predicted tokens per sequence.
    pub sequence_length: usize,
    /// Sequences per optimizer step.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub batch_size: usize,
    /// The same in predicted tokens, a multiple of `sequence_length`; one of both is stated.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub batch_tokens: usize,
    /// Sequences per forward pass; 0 = the whole batch. Gradients are accumulated so that the mean over the batch's tokens is exact.
    #[serde(default)]
    pub micro_batch_size: usize,
    /// In which order the sequences come.
    #[serde(default)]
    pub order: Order,
    /// Whether attention and positions begin anew at every document, as in the training of StableLM 2.
    #[serde(default = "yes")]
    pub reset_at_documents: bool,
    /// Seed of the data order and of the routers' noise.
    #[serde(default)]
    pub seed: u64,
    /// Types of parameters, gradients and optimizer state.
    #[serde(default)]
    pub precision: Precision,
    /// Layers that compute their activations twice to save memory.
    #[serde(default)]
    pub recompute: Recompute,
    /// Learning rate over the steps.
    pub schedule: Schedule,
    /// AdamW and gradient clipping.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// Losses beside the cross entropy (routed models only).
    #[serde(default)]
    pub losses: LossConfig,
    /// Noise, capacity and balancing bias (routed models only).
    #[serde(default)]
    pub routing: RoutingConfig,
    /// Measuring on held-out tokens.
    #[serde(default)]
    pub validation: ValidationConfig,
    /// Checkpoints while training.
    #[serde(default)]
    pub checkpoints: CheckpointConfig,
    /// What stands in `metrics.jsonl`.
    #[serde(default)]
    pub log: LogConfig,
    /// Looking out for losses that leave their course.
    #[serde(default)]
    pub watchdog: WatchdogConfig,
    /// Spreading over processes.
    #[serde(default)]
    pub parallel: ParallelConfig,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// In which order the sequences of the training tokens come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// A new seeded permutation in every epoch.
    #[default]
    Shuffled,
    /// As they stand, again from the start after the last: for tokens that are shuffled already.
    Sequential,
}

/// AdamW (arXiv 1711.05101) and clipping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Decay rates of the first and second moment.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay, per unit of learning rate.
    pub weight_decay: f64,
    /// Whether LayerNorm weights decay.
    pub decay_norms: bool,
    /// Whether biases decay, those of LayerNorms included.
    pub decay_biases: bool,
    /// Whether routers decay.
    pub decay_router: bool,
    /// Largest L2 norm of the whole gradient; 0 = never clipped (the norm is reported all the same).
    pub clip_norm: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        let (decay_norms, decay_biases, decay_router) = (false, false, false);
        Self { betas: [0.9, 0.95], eps: 1e-8, weight_decay: 0.1, decay_norms, decay_biases, decay_router, clip_norm: 1.0 }
    }
}

/// Measuring on held-out tokens; always done after the last step where there are any.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ValidationConfig {
    /// Steps between two measurements; 0 = only after the last step.
    pub every_steps: u64,
    /// Predicted tokens per measurement, rounded up to whole sequences; 0 = all.
    pub max_tokens: usize,
}

/// Checkpoints; one is always written after the last step and on interruption.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// Steps between two checkpoints; 0 = only after the last step.
    pub every_steps: u64,
    /// How many of the newest are kept; older ones are removed.
    pub keep_last: usize,
    /// Those of every so many steps are never removed; 0 = none.
    pub keep_every_steps: u64,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { every_steps: 0, keep_last: 2, keep_every_steps: 0 }
    }
}

impl TrainConfig {
    /// Sequences per optimizer step.
    pub fn batch(&self) -> usize {
        if self.batch_tokens == 0 { self.batch_size } else { self.batch_tokens / self.sequence_length.max(1) }
    }

    /// Sequences per forward pass.
    pub fn micro_batch(&self) -> usize {
        if self.micro_batch_size == 0 { self.batch() } else { self.micro_batch_size.min(self.batch()) }
    }

    /// Predicted tokens per optimizer step.
    pub fn tokens_per_step(&self) -> u64 {
        self.batch() as u64 * self.sequence_length as u64
    }

    /// Refuses values that cannot be trained with.
    ///
    /// # Errors
    /// Names the first such key, its value and its bounds.
    pub fn check(&self) -> Result<()> {
        require(self.steps > 0, || "steps is 0, expected at least 1".into())?;
        require((1..=1 << 24).contains(&self.sequence_length), || outside("sequence_length", self.sequence_length, "1 to 2^24"))?;
        self.check_batch()?;
        self.schedule.check(self.steps)?;
        self.optimizer.check()?;
        self.losses.check()?;
        self.routing.check()?;
        self.parallel.check()?;
        self.watchdog.check()?;
        require(self.checkpoints.keep_last > 0, || "checkpoints.keep_last is 0, expected at least 1".into())
    }

    fn check_batch(&self) -> Result<()> {
        let (tokens, length) = (self.batch_tokens, self.sequence_length);
        require(tokens == 0 || self.batch_size == 0, || "batch_size and batch_tokens are both stated, expected one".into())?;
        require(tokens.is_multiple_of(length), || outside("batch_tokens", tokens, &format!("the multiples of sequence_length, {length}")))?;
        require((1..=1 << 24).contains(&self.batch()), || outside("batch_size", self.batch(), "1 to 2^24"))
    }

    /// The part of the recipe that decides the weights: runs may only be resumed with the same. Checkpoints, validation, log,
    /// watchdog and what only moves the work elsewhere are left out.
    pub fn decisive(&self) -> Self {
        Self {
            batch_size: self.batch(),
            batch_tokens: 0,
            micro_batch_size: self.micro_batch(),
            recompute: Recompute::default(),
            parallel: ParallelConfig::default(),
            validation: ValidationConfig::default(),
            checkpoints: CheckpointConfig::default(),
            log: LogConfig::default(),
            watchdog: WatchdogConfig::default(),
            ..self.clone()
        }
    }
}

impl OptimizerConfig {
    fn check(&self) -> Result<()> {
        for beta in self.betas {
            require((0.0..1.0).contains(&beta), || outside("optimizer.betas", beta, "0 to 1, below 1"))?;
        }
        require(self.eps.is_finite() && self.eps > 0.0, || outside("optimizer.eps", self.eps, "the positive numbers"))?;
        coefficient("optimizer.weight_decay", self.weight_decay)?;
        coefficient("optimizer.clip_norm", self.clip_norm)
    }
}

pub(super) fn coefficient(key: &str, value: f64) -> Result<()> {
    require(value.is_finite() && value >= 0.0, || outside(key, value, "the numbers from 0 on"))
}

pub(super) fn outside(key: &str, value: impl std::fmt::Display, range: &str) -> String {
    format!("{key} is {value}, outside {range}")
}

pub(super) fn require(holds: bool, sentence: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(TrainError::Recipe(sentence())) }
}
