//! What a conversion is asked to do, and the sentences that refuse what cannot be done.

mod choices;
mod layers;

use std::path::PathBuf;

use coppice_models::Gate;
use safetensors::Dtype;
use serde::Serialize;

pub use self::choices::{DropIndices, RouterInit, Scaling, SharedStart, Trunk};
pub use self::layers::LayerSelection;
use super::error::{ConvertError, Result};

/// Largest safetensors file written by default, in bytes (the Hub's habit).
pub const MAX_SHARD_BYTES: u64 = 5_000_000_000;

/// The choices of one conversion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Options {
    /// Name of the method, see [`crate::methods`].
    pub method: String,
    /// `N`, routed experts per converted layer.
    pub experts: i64,
    /// `K`, experts each token is sent to.
    pub top_k: i64,
    /// `G`: each expert has `1/G` of the dense MLP's width. None where the method knows no granularity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granularity: Option<i64>,
    /// How router logits become weights.
    pub gate: Gate,
    /// Which layers are converted.
    pub layers: LayerSelection,
    /// Where the first router rows come from.
    pub router_init: RouterInit,
    /// Standard deviation of drawn rows.
    pub router_std: f64,
    /// Factor on rows made from hidden states, embeddings or clusters, which have length 1.
    pub router_scale: f64,
    /// Prompts of each expert, for rows made from them.
    #[serde(skip)]
    pub router_prompts: Vec<ExpertPrompts>,
    /// Sequences whose hidden states are clustered, for rows made from them.
    #[serde(skip)]
    pub router_sample: Vec<Vec<i64>>,
    /// Whether routers get a bias for balancing without a loss.
    pub router_bias: bool,
    /// `λ` of normalised logits; none leaves them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router_logit_norm: Option<f64>,
    /// Whether the parts of a split MLP are chosen together, now and in training.
    pub group_selection: bool,
    /// Share of the units that `drop` draws anew or `noise` disturbs.
    pub ratio: f64,
    /// Standard deviation of `noise`.
    pub noise_std: f64,
    /// Whether `drop` chooses units once for all three matrices or for each.
    pub drop_indices: DropIndices,
    /// How `virtual_group` makes up for weights that sum to 1 over all parts.
    pub scaling: Scaling,
    /// How the routed experts beside a shared one start.
    pub shared_start: SharedStart,
    /// Whether the shared expert has a gate.
    pub shared_gate: bool,
    /// Further dense checkpoints whose MLPs become experts, for `branch_train_mix`.
    pub branches: Vec<PathBuf>,
    /// Where `branch_train_mix` takes everything but the MLPs.
    pub trunk: Trunk,
    /// Seed of every draw.
    pub seed: u64,
    /// Element type of the output; None keeps that of each source tensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<Dtype>,
    /// Largest safetensors file in bytes of tensors; above it the output has an index. One tensor is never split.
    pub max_shard_bytes: u64,
    /// Whether an existing output folder is replaced.
    #[serde(skip)]
    pub overwrite: bool,
    /// Whether a conversion that was stopped goes on where it stopped.
    #[serde(skip)]
    pub resume: bool,
    /// Tensors made and written at once; the result is the same for any number.
    #[serde(skip)]
    pub jobs: usize,
}

/// As many tensors at once as there are processors.
pub fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl Default for Options {
    /// Eight copies in every layer, two of them for each token, routers drawn from `N(0, 0.02)` (arXiv 2212.05055).
    fn default() -> Self {
        Self {
            method: "copy".into(),
            experts: 8,
            top_k: 2,
            granularity: None,
            gate: Gate::TopkSoftmax,
            layers: LayerSelection::All,
            router_init: RouterInit::Normal,
            router_std: 0.02,
            router_scale: 1.0,
            router_prompts: Vec::new(),
            router_sample: Vec::new(),
            router_bias: false,
            router_logit_norm: None,
            group_selection: false,
            ratio: 0.5,
            noise_std: 0.02,
            drop_indices: DropIndices::Shared,
            scaling: Scaling::Down,
            shared_start: SharedStart::Zero,
            shared_gate: false,
            branches: Vec::new(),
            trunk: Trunk::Average,
            seed: 0,
            dtype: None,
            max_shard_bytes: MAX_SHARD_BYTES,
            overwrite: false,
            resume: false,
            jobs: default_jobs(),
        }
    }
}

impl Options {
    /// Refuses what is wrong whatever the source; what only some methods refuse is theirs to say.
    ///
    /// # Errors
    /// One sentence naming the option, its value and what it may be.
    pub fn check(&self) -> Result<()> {
        self.check_routing()?;
        finite("router std", self.router_std, 0.0)?;
        finite("router scale", self.router_scale, f64::MIN)?;
        finite("noise std", self.noise_std, 0.0)?;
        let ratio = self.ratio;
        require((0.0..=1.0).contains(&ratio), || format!("ratio is {ratio}, expected a share between 0 and 1"))?;
        require(self.jobs > 0, || "jobs is 0, expected at least 1".into())?;
        require(self.max_shard_bytes > 0, || "the largest shard is 0 bytes, expected at least 1".into())?;
        let dtype = self.dtype.unwrap_or(Dtype::F32);
        require(WRITABLE.contains(&dtype), || format!("dtype {dtype} cannot be written (known: F32, F16, BF16)"))
    }

    /// How many experts for a token, alone or in groups, by which gate.
    fn check_routing(&self) -> Result<()> {
        let (n, k, g, gate) = (self.experts, self.top_k, self.parts(), self.gate.name());
        require(n >= 1, || format!("experts is {n}, expected at least 1"))?;
        require(k >= 1, || format!("top-k is {k}, expected at least 1"))?;
        require(k <= n, || format!("top-k {k} is more than the {n} experts there are"))?;
        require(g >= 1, || format!("granularity is {g}, expected at least 1"))?;
        let scale = self.router_logit_norm.unwrap_or(1.0);
        require(scale.is_finite() && scale > 0.0, || format!("router logit norm is {scale}, expected a finite number above 0"))?;
        let by_token = !self.gate.is_expert_choice();
        require(by_token || !self.router_bias, || format!("router bias steers what tokens choose and gate {gate} lets experts choose"))?;
        if !self.group_selection {
            return Ok(());
        }
        require(by_token, || format!("group selection is for tokens that choose and gate {gate} lets experts choose"))?;
        require(g > 1, || "group selection chooses the parts of a split MLP together and granularity 1 makes no parts".into())?;
        require(k % g == 0, || format!("top-k {k} is no multiple of granularity {g}, as group selection needs it"))?;
        require(n % g == 0, || format!("experts {n} is no multiple of granularity {g}, as group selection needs it"))
    }

    /// `G`, parts the dense MLP is split into; 1 where none is named.
    pub fn parts(&self) -> i64 {
        self.granularity.unwrap_or(1)
    }
}

/// Refuses a number that is not finite or below `least`.
fn finite(what: &str, value: f64, least: f64) -> Result<()> {
    let bound = if least == f64::MIN { String::new() } else { format!(" of at least {least}") };
    require(value.is_finite() && value >= least, || format!("{what} is {value}, expected a finite number{bound}"))
}

/// Element types a converted checkpoint may have.
const WRITABLE: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::BF16];

/// Prompts that stand for what an expert is for (mergekit's `positive_prompts` and `negative_prompts`), as token ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpertPrompts {
    /// What the expert shall be chosen for.
    pub positive: Vec<Vec<i64>>,
    /// What it shall not.
    pub negative: Vec<Vec<i64>>,
}

/// An [`ConvertError::Options`] with `sentence` unless `holds`.
pub(crate) fn require(holds: bool, sentence: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(ConvertError::Options(sentence())) }
}

/// The refusal of a name that is none of `known`, with the nearest of them.
pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> ConvertError {
    let nearest = known.iter().max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
    let nearest = nearest.map_or_else(String::new, |nearest| format!("; the nearest is {nearest:?}"));
    ConvertError::Options(format!("unknown {what} {name:?} (known: {}{nearest})", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_range_are_refused_by_name() {
        let sentence = |options: Options| options.check().unwrap_err().to_string();
        let base = Options::default;
        assert!(base().check().is_ok());
        assert!(sentence(Options { experts: 0, ..base() }).contains("experts is 0"));
        assert!(sentence(Options { top_k: 0, ..base() }).contains("top-k is 0"));
        assert!(sentence(Options { top_k: 9, ..base() }).contains("top-k 9"));
        assert!(sentence(Options { router_std: f64::NAN, ..base() }).contains("router std is NaN"));
        assert!(sentence(Options { router_std: -1.0, ..base() }).contains("router std is -1"));
        assert!(sentence(Options { dtype: Some(Dtype::I64), ..base() }).contains("I64"));
        for ratio in [-0.1, 1.1, f64::NAN] {
            assert!(sentence(Options { ratio, ..base() }).contains("ratio is"));
        }
        assert!(sentence(Options { noise_std: -1.0, ..base() }).contains("noise std is -1"));
        assert!(sentence(Options { router_scale: f64::INFINITY, ..base() }).contains("router scale is inf"));
        assert!(sentence(Options { granularity: Some(0), ..base() }).contains("granularity is 0"));
        assert!(sentence(Options { router_logit_norm: Some(0.0), ..base() }).contains("router logit norm is 0"));
        let gate = Gate::ExpertChoice;
        assert!(sentence(Options { router_bias: true, gate, ..base() }).contains("expert_choice"));
        let grouped = || Options { group_selection: true, granularity: Some(2), ..base() };
        assert!(grouped().check().is_ok());
        assert!(sentence(Options { gate, ..grouped() }).contains("expert_choice"));
        assert!(sentence(Options { granularity: None, ..grouped() }).contains("granularity 1"));
        assert!(sentence(Options { top_k: 3, ..grouped() }).contains("top-k 3"));
        assert!(sentence(Options { experts: 7, ..grouped() }).contains("experts 7"));
    }
}
