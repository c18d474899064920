//! The arms of a recipe: how the pre-trained model is upcycled, and what its continued training does differently.

use anyhow::{Context, Result, bail};
use coppice_models::{Config, Gate, MoeConfig};
use coppice_upcycle::convert::options::{DropIndices, RouterInit, Scaling, SharedStart, Trunk};
use coppice_upcycle::convert::{Options, check};
use coppice_upcycle::methods::find;
use coppice_upcycle::train::TrainConfig;
use coppice_upcycle::train::recipe::{LossConfig, RoutingConfig};
use serde::{Deserialize, Serialize};

/// One arm of the comparison.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmRecipe {
    /// Short name, used in files.
    pub name: String,
    /// How the report calls it.
    pub label: String,
    /// How the pre-trained model is upcycled; none for the dense control.
    #[serde(default)]
    pub upcycle: Option<UpcycleRecipe>,
    /// Train the routed model from a random start on all tokens, the pre-training's among them, instead of upcycling.
    #[serde(default)]
    pub from_scratch: bool,
    /// Losses of this arm, where they are not the phase's.
    #[serde(default)]
    pub losses: Option<LossConfig>,
    /// Routing in training of this arm, where it is not the phase's.
    #[serde(default)]
    pub routing: Option<RoutingConfig>,
}

/// How an arm is upcycled: the flags of `coppice upcycle`, by the same names.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpcycleRecipe {
    /// Name in the registry of methods.
    pub method: String,
    /// `N`.
    pub experts: i64,
    /// `K`.
    pub top_k: i64,
    /// `G`.
    pub granularity: Option<i64>,
    /// Order of softmax and top-k.
    pub gate: Gate,
    /// Which layers, as on the command line.
    pub layers: String,
    /// Where the router's first rows come from.
    pub router_init: RouterInit,
    /// Standard deviation of drawn rows.
    pub router_std: f64,
    /// Factor on rows made from text.
    pub router_scale: f64,
    /// Whether routers get a balancing bias.
    pub router_bias: bool,
    /// Factor of normalised logits.
    pub router_logit_norm: Option<f64>,
    /// Whether the parts of a split MLP stay together.
    pub group_selection: bool,
    /// Share of units that `drop` or `noise` change.
    pub ratio: f64,
    /// Standard deviation of `noise`.
    pub noise_std: f64,
    /// How `drop` chooses units.
    pub drop_indices: DropIndices,
    /// How `virtual_group` scales.
    pub scaling: Scaling,
    /// How routed experts beside a shared one start.
    pub shared_start: SharedStart,
    /// Whether the shared expert has a gate.
    pub shared_gate: bool,
    /// Where a mix takes everything but the MLPs.
    pub trunk: Trunk,
    /// Dense branches that are trained apart and mixed.
    pub branches: Option<Branches>,
}

/// Branches of the pre-trained model, each trained on a part of the continuation's first tokens (arXiv 2403.07816).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branches {
    /// How many; each gets the documents of its part (people of the world, domains of the text).
    pub count: usize,
    /// Share of the continuation's documents that goes to the branches; the mix is trained on the rest, so that all arms see as many.
    pub share: f64,
}

impl Default for UpcycleRecipe {
    fn default() -> Self {
        let options = Options::default();
        Self {
            method: options.method,
            experts: options.experts,
            top_k: options.top_k,
            granularity: options.granularity,
            gate: options.gate,
            layers: options.layers.to_string(),
            router_init: options.router_init,
            router_std: options.router_std,
            router_scale: options.router_scale,
            router_bias: options.router_bias,
            router_logit_norm: options.router_logit_norm,
            group_selection: options.group_selection,
            ratio: options.ratio,
            noise_std: options.noise_std,
            drop_indices: options.drop_indices,
            scaling: options.scaling,
            shared_start: options.shared_start,
            shared_gate: options.shared_gate,
            trunk: options.trunk,
            branches: None,
        }
    }
}

impl ArmRecipe {
    pub(super) fn check(&self) -> Result<()> {
        let Some(upcycle) = &self.upcycle else {
            return if self.from_scratch { bail!("arm {}: from_scratch needs [arms.upcycle] for its experts", self.name) } else { Ok(()) };
        };
        upcycle.check(self.from_scratch).with_context(|| format!("arm {}", self.name))
    }

    /// Refuses experts that a dense model of this configuration cannot be grown into.
    pub(super) fn fits(&self, config: &Config) -> Result<()> {
        let Some(upcycle) = self.upcycle.as_ref().filter(|_| !self.from_scratch) else { return Ok(()) };
        let mut options = upcycle.options(0)?;
        options.branches = vec!["a branch".into(); upcycle.branches.map_or(0, |branches| branches.count - 1)];
        upcycle.check_foreign().and_then(|()| Ok(check(config, &options)?)).with_context(|| format!("arm {}", self.name))
    }

    /// The phase's settings with this arm's own.
    pub fn train(&self, phase: &TrainConfig) -> TrainConfig {
        TrainConfig {
            losses: self.losses.clone().unwrap_or_else(|| phase.losses.clone()),
            routing: self.routing.clone().unwrap_or_else(|| phase.routing.clone()),
            ..phase.clone()
        }
    }
}

impl UpcycleRecipe {
    fn check(&self, from_scratch: bool) -> Result<()> {
        if self.gate.is_expert_choice() {
            bail!("gate {} is not causal, and a recipe's models answer questions token by token", self.gate.name());
        }
        if from_scratch && (self.method != "copy" || self.branches.is_some()) {
            bail!("from_scratch takes the number of experts, top_k, gate and router settings of method copy");
        }
        if let Some(Branches { count, share }) = self.branches
            && !(count >= 2 && share > 0.0 && share < 1.0)
        {
            bail!("branches need a count of at least 2 and a share between 0 and 1, found {count} and {share}");
        }
        Ok(self.options(0)?.check()?)
    }

    /// Refuses what other methods know and this one would leave unread.
    fn check_foreign(&self) -> Result<()> {
        let (method, base) = (find(&self.method)?, Self::default());
        let given = [
            ("ratio", self.ratio != base.ratio),
            ("noise-std", self.noise_std != base.noise_std),
            ("drop-indices", self.drop_indices != base.drop_indices),
            ("scaling", self.scaling != base.scaling),
            ("shared-start", self.shared_start != base.shared_start),
            ("trunk", self.trunk != base.trunk),
        ];
        match given.iter().find(|(flag, set)| *set && !method.flags().contains(flag)) {
            Some((flag, _)) => bail!("{} means nothing to method {}", flag.replace('-', "_"), self.method),
            None => Ok(()),
        }
    }

    /// The converter's options; an older result is replaced. Prompts, samples and branches are the dataset's.
    pub fn options(&self, seed: u64) -> Result<Options> {
        Ok(Options {
            method: self.method.clone(),
            experts: self.experts,
            top_k: self.top_k,
            granularity: self.granularity,
            gate: self.gate,
            layers: self.layers.parse()?,
            router_init: self.router_init,
            router_std: self.router_std,
            router_scale: self.router_scale,
            router_bias: self.router_bias,
            router_logit_norm: self.router_logit_norm,
            group_selection: self.group_selection,
            ratio: self.ratio,
            noise_std: self.noise_std,
            drop_indices: self.drop_indices,
            scaling: self.scaling,
            shared_start: self.shared_start,
            shared_gate: self.shared_gate,
            trunk: self.trunk,
            seed,
            overwrite: true,
            ..Options::default()
        })
    }

    /// The experts of a model of `layers` layers whose MLPs have `width` units, without a dense parent.
    pub fn experts(&self, layers: usize, width: i64) -> Result<MoeConfig> {
        Ok(MoeConfig {
            num_experts: self.experts,
            experts_per_token: self.top_k,
            gate: self.gate,
            layers: self.options(0)?.layers.resolve(layers)?,
            expert_intermediate_size: width,
            router_bias: self.router_bias,
            router_logit_norm: self.router_logit_norm,
            ..MoeConfig::default()
        })
    }
}
