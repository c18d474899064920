//! What the experts of a routed model became: who is busy, who goes with whom, who looks like whom, who takes what.
//!
//! `N` is the number of experts of a layer, `K` how many of them a token is sent to.

use serde::{Deserialize, Serialize};

use super::number::{nan, null_as_nan, row_null_as_nan, rows_null_as_nan};

/// What the experts of one trained model became.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExpertReport {
    /// The arm's name.
    pub arm: String,
    /// The name shown to readers; the arm's where empty.
    pub label: String,
    /// The seed.
    pub seed: u64,
    /// Experts per routed layer, `N`.
    pub experts: usize,
    /// Experts one token is sent to, `K`.
    pub experts_per_token: usize,
    /// Number of routed tokens measured on.
    pub tokens: u64,
    /// What was run through the model, in words.
    pub text: String,
    /// The routed layers, from the first to the last.
    pub layers: Vec<LayerExperts>,
    /// How the experts developed during training, one entry a layer.
    pub over_training: Vec<ExpertTrend>,
    /// Remarks on how to read the figures.
    pub notes: Vec<String>,
}

/// The experts of one routed layer. Empty lists were not measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerExperts {
    /// The model's layer index.
    pub layer: usize,
    /// Share of the assignments by expert, `[N]`; sums to 1.
    #[serde(deserialize_with = "row_null_as_nan")]
    pub load: Vec<f64>,
    /// Entropy of the load, nats; at most ln N.
    #[serde(default = "nan", deserialize_with = "null_as_nan")]
    pub load_entropy: f64,
    /// The experts that got no token, by index.
    pub dead: Vec<usize>,
    /// Mean entropy of the router's distribution over experts, nats per token.
    pub router_entropy: Option<f64>,
    /// Share of a token's experts that a reference checkpoint chose too, `|topK ∩ topK of the reference| / K`, mean over tokens.
    pub saturation: Option<f64>,
    /// `[N][N]`: share of the tokens of expert i (row) that expert j (column) got too, `N_ij / N_i`.
    #[serde(deserialize_with = "rows_null_as_nan")]
    pub co_activation: Vec<Vec<f64>>,
    /// `[N][N]`: cosine between the weights of two experts.
    #[serde(deserialize_with = "rows_null_as_nan")]
    pub similarity: Vec<Vec<f64>>,
    /// `[N]`: cosine between an expert's weights and those of the dense MLP it came from.
    #[serde(deserialize_with = "row_null_as_nan")]
    pub parent_similarity: Vec<f64>,
    /// Which experts the tokens of each domain are sent to.
    pub domains: Vec<DomainShare>,
    /// Which experts the tokens of the vocabulary are sent to.
    pub vocabulary: Option<Vocabulary>,
}

/// Where a layer sends the tokens of one domain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DomainShare {
    /// The domain's name.
    pub domain: String,
    /// Number of its tokens.
    pub tokens: u64,
    /// `[N]`: share of its tokens that have the expert among their `K`; sums to `K`.
    #[serde(deserialize_with = "row_null_as_nan")]
    pub share: Vec<f64>,
}

/// How far a layer's experts divide the vocabulary among themselves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vocabulary {
    /// Mean over the tokens that went in, of the largest share one expert holds of that token's routings.
    #[serde(default = "nan", deserialize_with = "null_as_nan")]
    pub input: f64,
    /// The same over the tokens that were predicted.
    #[serde(default = "nan", deserialize_with = "null_as_nan")]
    pub output: f64,
    /// By expert, the tokens it takes most of, the largest share first.
    pub top: Vec<Vec<TokenShare>>,
}

/// How much of one token of the vocabulary an expert takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenShare {
    /// The token's text, with its spaces.
    pub token: String,
    /// Share of the token's routings that went to the expert.
    #[serde(default = "nan", deserialize_with = "null_as_nan")]
    pub share: f64,
    /// Number of the token's routings.
    pub count: u64,
}

/// One layer's experts over the course of training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExpertTrend {
    /// The model's layer index.
    pub layer: usize,
    /// The points, in the order of training.
    pub points: Vec<TrendPoint>,
}

/// One layer's experts after some optimizer steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrendPoint {
    /// Optimizer steps done.
    pub step: u64,
    /// Mean cosine over pairs of experts.
    pub similarity: Option<f64>,
    /// Entropy of the load, nats.
    pub load_entropy: Option<f64>,
    /// Load-balance loss `N Σ f_i P_i`, without its coefficient; 1 where the load is even.
    pub balance: Option<f64>,
    /// Number of experts without a token.
    pub dead: Option<u64>,
}

impl ExpertReport {
    /// Below this share of ln N, a layer's load entropy counts as collapse.
    pub const COLLAPSED: f64 = 0.5;

    /// The name to show: the label, or the arm's name where there is none.
    #[must_use]
    pub fn shown(&self) -> &str {
        if self.label.is_empty() { &self.arm } else { &self.label }
    }
}

impl LayerExperts {
    /// The load entropy as a share of ln N: 1 = even, 0 = one expert takes all; `None` below two experts.
    #[must_use]
    pub fn evenness(&self) -> Option<f64> {
        evenness(self.load_entropy, self.load.len())
    }

    /// Whether the load entropy is below [`ExpertReport::COLLAPSED`] × ln N.
    #[must_use]
    pub fn is_collapsed(&self) -> bool {
        self.evenness().is_some_and(|share| share < ExpertReport::COLLAPSED)
    }

    /// Mean cosine over pairs of different experts; `None` where no pair was measured.
    #[must_use]
    pub fn mean_similarity(&self) -> Option<f64> {
        mean(off_diagonal(&self.similarity))
    }

    /// Mean cosine to the dense parent, over the experts that have one.
    #[must_use]
    pub fn mean_parent_similarity(&self) -> Option<f64> {
        mean(self.parent_similarity.iter().copied())
    }
}

/// An entropy in nats as a share of ln `experts`; `None` where it is not finite or there are fewer than two experts.
pub(crate) fn evenness(entropy: f64, experts: usize) -> Option<f64> {
    let share = entropy / (experts as f64).ln();
    (experts > 1 && share.is_finite()).then_some(share)
}

/// The values of a square matrix outside its diagonal.
pub(crate) fn off_diagonal(matrix: &[Vec<f64>]) -> impl Iterator<Item = f64> + '_ {
    let row = |(i, row): (usize, &'_ Vec<f64>)| row.iter().enumerate().filter(move |(j, _)| *j != i).map(|(_, v)| *v).collect::<Vec<_>>();
    matrix.iter().enumerate().flat_map(row)
}

/// The mean of the finite values; `None` where there are none.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let kept: Vec<f64> = values.filter(|v| v.is_finite()).collect();
    (!kept.is_empty()).then(|| kept.iter().map(|v| v / kept.len() as f64).sum())
}
