//! What a conversion is asked to do, and the sentences that refuse what cannot be done.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use coppice_models::Gate;
use safetensors::Dtype;
use serde::{Deserialize, Serialize, Serializer};

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
        let (n, k, std) = (self.experts, self.top_k, self.router_std);
        require(n >= 1, || format!("experts is {n}, expected at least 1"))?;
        require(k >= 1, || format!("top-k is {k}, expected at least 1"))?;
        require(k <= n, || format!("top-k {k} is more than the {n} experts there are"))?;
        require(std.is_finite() && std >= 0.0, || format!("router std is {std}, expected a finite number of at least 0"))?;
        require(self.jobs > 0, || "jobs is 0, expected at least 1".into())?;
        require(self.max_shard_bytes > 0, || "the largest shard is 0 bytes, expected at least 1".into())?;
        let dtype = self.dtype.unwrap_or(Dtype::F32);
        require(WRITABLE.contains(&dtype), || format!("dtype {dtype} cannot be written (known: F32, F16, BF16)"))
    }
}

/// Element types a converted checkpoint may have.
const WRITABLE: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::BF16];

/// Names of an option's values, read from the command line and from recipes.
macro_rules! named {
    ($(#[$doc:meta])* $what:literal $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $type { $($(#[$variant_doc])* #[serde(rename = $name)] $variant,)* }

        impl $type {
            /// Every value, as it is named.
            pub const NAMES: &[&str] = &[$($name),*];
        }

        impl FromStr for $type {
            type Err = ConvertError;

            fn from_str(name: &str) -> Result<Self> {
                match name {
                    $($name => Ok(Self::$variant),)*
                    _ => Err(unknown($what, name, Self::NAMES)),
                }
            }
        }
    };
}

named! {
    /// Where the first router rows come from.
    "router init" RouterInit {
        /// `N(0, std)`, each row by itself.
        #[default]
        Normal = "normal",
        /// Drawn rows made orthogonal, with the length normal ones have on average.
        Orthogonal = "orthogonal",
        /// Zeros: every expert is as likely, ties go to the first.
        Zero = "zero",
        /// The last token's hidden state of each expert's prompts (mergekit).
        Hidden = "hidden",
        /// The mean hidden state of each expert's prompts (mergekit).
        HiddenAvg = "hidden_avg",
        /// The summed embeddings of each expert's prompts, the same in every layer (mergekit).
        CheapEmbed = "cheap_embed",
        /// Centres of clusters of the MLP's inputs on a sample of text.
        Kmeans = "kmeans",
    }
}

named! {
    /// How `drop` chooses units.
    "drop indices" DropIndices {
        /// Once for an expert (the paper, arXiv 2502.19261).
        #[default]
        Shared = "shared",
        /// For each of its matrices (the released script).
        PerMatrix = "per_matrix",
    }
}

named! {
    /// How parts of an MLP are scaled so that their weighted sum is the whole, by a factor `a`.
    "scaling" Scaling {
        /// `a` on the down projection: exact.
        #[default]
        Down = "down",
        /// The root of `a` on up and down: exact.
        SqrtUpDown = "sqrt_up_down",
        /// The cube root of `a` on all three (Megatron-Core): not exact, since `silu(s x)` is not `s silu(x)`.
        CubeRoot = "cube_root",
        /// None.
        None = "none",
    }
}

named! {
    /// How the routed experts beside a shared one start.
    "shared start" SharedStart {
        /// With a down projection of zeros: the shared expert alone is the dense MLP.
        #[default]
        Zero = "zero",
        /// As copies; shared and routed output are halved.
        Copies = "copies",
    }
}

named! {
    /// Where a mix of checkpoints takes everything but the MLPs.
    "trunk" Trunk {
        /// The mean of all checkpoints.
        #[default]
        Average = "average",
        /// The first checkpoint.
        First = "first",
    }
}

/// Prompts that stand for what an expert is for (mergekit's `positive_prompts` and `negative_prompts`), as token ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpertPrompts {
    /// What the expert shall be chosen for.
    pub positive: Vec<Vec<i64>>,
    /// What it shall not.
    pub negative: Vec<Vec<i64>>,
}

/// Which layers of a model are converted. Indices count from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerSelection {
    /// Every layer.
    All,
    /// Every second layer: 1, 3, 5, … The first stays dense; 2212.05055 finds sparsifying it problematic.
    Alternate,
    /// The first so many.
    First(usize),
    /// The last so many.
    Last(usize),
    /// These.
    Indices(Vec<usize>),
}

impl LayerSelection {
    /// The chosen layers of a model of `layers`, ascending.
    ///
    /// # Errors
    /// When none is chosen, one is chosen twice, or one is beyond the last.
    pub fn resolve(&self, layers: usize) -> Result<Vec<usize>> {
        let count = if let Self::First(count) | Self::Last(count) = self { *count } else { 0 };
        require(count <= layers, || format!("layers {self} asks for more than the model's {layers}"))?;
        let mut chosen: Vec<usize> = match self {
            Self::All => (0..layers).collect(),
            Self::Alternate => (1..layers).step_by(2).collect(),
            Self::First(count) => (0..*count).collect(),
            Self::Last(count) => (layers - count..layers).collect(),
            Self::Indices(indices) => indices.clone(),
        };
        chosen.sort_unstable();
        require(!chosen.is_empty(), || format!("layers {self} chooses none of the model's {layers}"))?;
        if let Some(beyond) = chosen.iter().find(|&&layer| layer >= layers) {
            return Err(ConvertError::Options(format!("layer {beyond} is beyond the last, {}", layers - 1)));
        }
        let twice = chosen.windows(2).find(|pair| pair[0] == pair[1]);
        twice.map_or(Ok(()), |pair| Err(ConvertError::Options(format!("layer {} is named twice", pair[0]))))?;
        Ok(chosen)
    }
}

impl FromStr for LayerSelection {
    type Err = ConvertError;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || ConvertError::Options(format!("layers {text:?} is not all, alternate, first:k, last:k or indices such as 0,2,5"));
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| bad());
        match (text, text.split_once(':')) {
            ("all", _) => Ok(Self::All),
            ("alternate", _) => Ok(Self::Alternate),
            (_, Some(("first", count))) => number(count).map(Self::First),
            (_, Some(("last", count))) => number(count).map(Self::Last),
            _ => text.split(',').map(number).collect::<Result<_>>().map(Self::Indices),
        }
    }
}

impl fmt::Display for LayerSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Alternate => f.write_str("alternate"),
            Self::First(count) => write!(f, "first:{count}"),
            Self::Last(count) => write!(f, "last:{count}"),
            Self::Indices(indices) => f.write_str(&indices.iter().map(usize::to_string).collect::<Vec<_>>().join(",")),
        }
    }
}

impl Serialize for LayerSelection {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
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
    fn selections_read_as_they_print() {
        for (text, chosen) in [
            ("all", vec![0, 1, 2, 3, 4]),
            ("alternate", vec![1, 3]),
            ("first:2", vec![0, 1]),
            ("last:2", vec![3, 4]),
            ("4,0,2", vec![0, 2, 4]),
        ] {
            let selection: LayerSelection = text.parse().unwrap();
            assert_eq!(selection.to_string(), text);
            assert_eq!(selection.resolve(5).unwrap(), chosen);
        }
    }

    #[test]
    fn selections_that_name_no_layer_are_refused() {
        for text in ["", "some", "first", "first:", "last:-1", "1,,2", "1.5", "99999999999999999999"] {
            assert!(text.parse::<LayerSelection>().is_err(), "{text}");
        }
        for text in ["first:0", "first:6", "last:18446744073709551615", "5", "1,1"] {
            assert!(text.parse::<LayerSelection>().unwrap().resolve(5).is_err(), "{text}");
        }
        assert!(LayerSelection::Alternate.resolve(1).is_err());
    }

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
        assert!("norml".parse::<RouterInit>().unwrap_err().to_string().contains("nearest is \"normal\""));
    }
}
