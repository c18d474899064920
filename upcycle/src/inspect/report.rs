//! What an inspection says, as data: the shape `coppice_reports::data::ExpertReport` reads.
//!
//! `N` is the number of experts of a layer, `K` how many of them a token is sent to. What cannot be computed (a share of nothing)
//! is NaN here and `null` in JSON.

use serde::Serialize;

/// What the experts of one model became.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ExpertReport {
    /// The model's name.
    pub arm: String,
    /// The name shown to readers; the arm's where empty.
    pub label: String,
    /// Seed of the conversion the experts came from.
    pub seed: u64,
    /// `N`.
    pub experts: usize,
    /// `K`.
    pub experts_per_token: usize,
    /// Tokens measured on.
    pub tokens: u64,
    /// What was run through the model, in words.
    pub text: String,
    /// The routed layers, first to last.
    pub layers: Vec<LayerExperts>,
    /// How the experts developed in training, one entry a layer; empty where no metrics were given.
    pub over_training: Vec<ExpertTrend>,
    /// How to read the figures.
    pub notes: Vec<String>,
}

/// The experts of one routed layer.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LayerExperts {
    /// Index in the model.
    pub layer: usize,
    /// Share of the assignments by expert, `[N]`; sums to 1.
    pub load: Vec<f64>,
    /// Entropy of the load, nats; at most `ln N`.
    pub load_entropy: f64,
    /// The experts that got no token.
    pub dead: Vec<usize>,
    /// Mean entropy of the router's distribution over experts, nats per token.
    pub router_entropy: Option<f64>,
    /// `|topk ∩ topk of the reference| / k`, mean over tokens (router saturation, OLMoE, arXiv 2409.02060); none without a reference.
    pub saturation: Option<f64>,
    /// `[N][N]`: `N_ij / N_i`, share of the tokens of expert `i` (row) that expert `j` got too; 1 on the diagonal.
    pub co_activation: Vec<Vec<f64>>,
    /// `[N][N]`: cosine between the weights of two experts (gate, up and down as one vector).
    pub similarity: Vec<Vec<f64>>,
    /// `[N]`: cosine between an expert's weights and those of the dense parent's MLP; empty without a parent.
    pub parent_similarity: Vec<f64>,
    /// Where the tokens of each domain went; empty where the text has no domains.
    pub domains: Vec<DomainShare>,
    /// How the experts divide the vocabulary; none where no token has enough routings.
    pub vocabulary: Option<Vocabulary>,
}

/// Where a layer sends the tokens of one domain (domain specialisation, arXiv 2409.02060).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DomainShare {
    /// The domain.
    pub domain: String,
    /// Its tokens.
    pub tokens: u64,
    /// `[N]`: share of its tokens that have the expert among their `K`.
    pub share: Vec<f64>,
}

/// How far a layer's experts divide the vocabulary among themselves (vocabulary specialisation, arXiv 2409.02060).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Vocabulary {
    /// Mean over the ids that went in, weighted by their routings, of the largest share of an id's routings one expert has.
    pub input: f64,
    /// The same over the ids the model predicted (its most probable next token).
    pub output: f64,
    /// By expert, the input ids it takes most of, largest share first.
    pub top: Vec<Vec<TokenShare>>,
}

/// How much of one id an expert takes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TokenShare {
    /// The token's text.
    pub token: String,
    /// Share of the id's routings that went to the expert.
    pub share: f64,
    /// The id's routings.
    pub count: u64,
}

/// One layer's experts over the course of training.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ExpertTrend {
    /// Index of the layer.
    pub layer: usize,
    /// The points, in order.
    pub points: Vec<TrendPoint>,
}

/// One layer's experts after some optimizer steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct TrendPoint {
    /// Steps done.
    pub step: u64,
    /// Mean cosine over pairs of experts.
    pub similarity: Option<f64>,
    /// Entropy of the load, nats.
    pub load_entropy: Option<f64>,
    /// Load-balance loss without its coefficient; 1 where the load is even.
    pub balance: Option<f64>,
    /// Experts without a token.
    pub dead: Option<u64>,
}

/// Below this share of `ln N` a layer's load has collapsed.
pub const COLLAPSED: f64 = 0.5;

impl LayerExperts {
    /// The load's entropy as a share of `ln N`: 1 = even, 0 = one expert takes all; none for a single expert.
    pub fn evenness(&self) -> Option<f64> {
        (self.load.len() > 1).then(|| self.load_entropy / (self.load.len() as f64).ln())
    }

    /// Mean cosine over pairs of different experts; none where there is no pair.
    pub fn mean_similarity(&self) -> Option<f64> {
        let pairs = |(i, row): (usize, &Vec<f64>)| row[i + 1..].to_vec();
        mean(&self.similarity.iter().enumerate().flat_map(pairs).collect::<Vec<_>>())
    }

    /// Mean cosine to the dense parent; none without one.
    pub fn mean_parent_similarity(&self) -> Option<f64> {
        mean(&self.parent_similarity)
    }
}

/// The mean of what is finite; none where nothing is.
fn mean(values: &[f64]) -> Option<f64> {
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    (!finite.is_empty()).then(|| finite.iter().sum::<f64>() / finite.len() as f64)
}

/// `-Σ p ln p` in nats of shares that sum to 1.
pub(crate) fn entropy(shares: &[f64]) -> f64 {
    -shares.iter().filter(|&&p| p > 0.0).map(|p| p * p.ln()).sum::<f64>() + 0.0 // no negative zero
}
