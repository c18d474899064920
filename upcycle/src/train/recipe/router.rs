//! What training does to routers: losses, noise, capacity, balancing bias, and what is logged of the experts.

use coppice_models::capacity::Capacity;
use coppice_models::moe::Training;
use serde::{Deserialize, Serialize};

use super::{coefficient, outside, require};
use crate::train::error::Result;
use crate::train::losses::{Adaptive, BalanceLevel};

/// Router losses, each the mean over the routed layers; both are on unless their coefficient is set to 0. Where others add a loss in every
/// layer (Megatron-Core), their coefficient is ours divided by the number of routed layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// Weight of the load-balance loss, whose minimum is 1 (1e-2 a layer in arXiv 2410.07524, where 0 gave dead experts). Expert choice is
    /// balanced by construction and has none.
    pub balance_coefficient: f64,
    /// Over which tokens loads must be even.
    pub balance_level: BalanceLevel,
    /// Weight of the router z-loss, whose minimum is 0 (1e-3 in ST-MoE, arXiv 2202.08906; of no effect in 2410.07524).
    pub z_coefficient: f64,
    /// Lets the balance coefficient of each layer follow how unbalanced the layer is; none keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self { balance_coefficient: 0.01, balance_level: BalanceLevel::default(), z_coefficient: 1e-3, adaptive: None }
    }
}

impl LossConfig {
    /// Whether the balance loss weighs anything at any time.
    pub fn balances(&self) -> bool {
        self.balance_coefficient > 0.0 || self.adaptive.is_some_and(|adaptive| adaptive.xi > 0.0 && adaptive.alpha_max > 0.0)
    }

    pub(super) fn check(&self) -> Result<()> {
        coefficient("losses.balance_coefficient", self.balance_coefficient)?;
        coefficient("losses.z_coefficient", self.z_coefficient)?;
        self.adaptive.map_or(Ok(()), |adaptive| adaptive.check())
    }
}

/// Routing while training; evaluation is dropless and without noise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoutingConfig {
    /// `ε`: routers see their input times draws from `U(1 - ε, 1 + ε)` (1e-2 in Switch, arXiv 2101.03961); 0 = as it is.
    pub jitter: f64,
    /// Room at each expert in each micro-batch; none = dropless.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// What a step moves a router's balancing bias by, towards even loads (DeepSeek-V3, arXiv 2412.19437); models without one have
    /// nothing to move.
    pub bias_update_rate: f64,
}

impl Default for RoutingConfig {
    fn default() -> Self {
        Self { jitter: 0.0, capacity: None, bias_update_rate: 0.001 }
    }
}

impl RoutingConfig {
    /// What a forward pass of training needs of it.
    pub fn training(&self) -> Training {
        Training { jitter: self.jitter, capacity: self.capacity }
    }

    pub(super) fn check(&self) -> Result<()> {
        require((0.0..1.0).contains(&self.jitter), || outside("routing.jitter", self.jitter, "0 to 1, below 1"))?;
        coefficient("routing.bias_update_rate", self.bias_update_rate)?;
        let factor = self.capacity.map_or(1.0, |capacity| capacity.factor);
        require(factor.is_finite() && factor > 0.0, || outside("routing.capacity.factor", factor, "the positive numbers"))
    }
}

/// What stands in `metrics.jsonl` beside what every step has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Steps between two lines with the experts' loads, which the first step has too; 0 = never.
    pub expert_load_every: u64,
    /// Steps between two lines with the experts' similarity, which the first and the last step have too; 0 = never. Default: ten times
    /// the interval of the loads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expert_similarity_every: Option<u64>,
    /// Whether the same is written as TensorBoard's event files too, in `tensorboard/` of the run folder.
    pub tensorboard: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { expert_load_every: 10, expert_similarity_every: None, tensorboard: false }
    }
}

impl LogConfig {
    /// Whether the experts' loads are due after `step`.
    pub fn load_due(&self, step: u64) -> bool {
        let every = self.expert_load_every;
        every > 0 && (step == 1 || step.is_multiple_of(every))
    }

    /// Whether the experts' similarity is due after `step` of `steps`.
    pub fn similarity_due(&self, step: u64, steps: u64) -> bool {
        let every = self.expert_similarity_every.unwrap_or(self.expert_load_every.saturating_mul(10));
        every > 0 && (step == 1 || step == steps || step.is_multiple_of(every))
    }
}
