//! The networks behind one interface: a batch of token ids in, the states after the last layer out.

use candle_core::{Result as CandleResult, Tensor};
use candle_transformers::models::{bert::BertModel, debertav2::DebertaV2Model, modernbert::ModernBert, xlm_roberta::XLMRobertaModel};

use super::EncoderError;
use super::config::{Config, Network};
use super::folder::Weights;
use super::tokens::Batch;

/// A network with its weights.
pub(super) enum Backbone {
    Bert(Box<BertModel>),
    Roberta(Box<XLMRobertaModel>),
    DebertaV2(Box<DebertaV2Model>),
    ModernBert(Box<ModernBert>),
}

impl Backbone {
    pub(super) fn load(weights: &Weights, config: &Config) -> Result<Self, EncoderError> {
        let network = match &config.network {
            Network::Bert(config) => BertModel::load(weights.under("bert"), config).map(Box::new).map(Self::Bert),
            Network::Roberta(config) => XLMRobertaModel::new(config, weights.under("roberta")).map(Box::new).map(Self::Roberta),
            Network::DebertaV2(config) => DebertaV2Model::load(weights.under("deberta"), config).map(Box::new).map(Self::DebertaV2),
            Network::ModernBert(config) => {
                all_norms(weights, config.num_hidden_layers)?;
                ModernBert::load(weights.bare("model"), config).map(Box::new).map(Self::ModernBert)
            }
        };
        network.map_err(|error| weights.broken(error))
    }

    /// States after the last layer, `[B, S, D]`; those of padding mean nothing.
    pub(super) fn forward(&self, batch: &Batch) -> CandleResult<Tensor> {
        let Batch { ids, types, mask, .. } = batch;
        match self {
            Self::Bert(model) => model.forward(ids, types, Some(mask)),
            Self::Roberta(model) => model.forward(ids, mask, types, None, None, None),
            Self::DebertaV2(model) => model.forward(ids, Some(types.clone()), Some(mask.clone())),
            Self::ModernBert(model) => model.forward(ids, mask),
        }
    }
}

/// candle takes a ModernBERT layer without the norm before its attention for one that has none; only the first may be.
fn all_norms(weights: &Weights, layers: usize) -> Result<(), EncoderError> {
    let stored = |layer: usize| {
        let name = format!("layers.{layer}.attn_norm.weight");
        weights.names.contains(&name) || weights.names.contains(&format!("model.{name}"))
    };
    match (1..layers).find(|&layer| !stored(layer)) {
        Some(layer) => Err(weights.broken(format!("tensor `layers.{layer}.attn_norm.weight` not found"))),
        None => Ok(()),
    }
}
