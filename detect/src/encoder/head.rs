//! The classification heads: one state for the whole text, a dense layer, and the logits.

use candle_core::{IndexOp, Module, Result as CandleResult, Tensor};
use candle_nn::{LayerNorm, Linear, VarBuilder, layer_norm_no_bias};

use super::EncoderError;
use super::config::{Config, FILE, Network};
use super::folder::{Folder, Weights};
use super::tokens::Batch;

/// How the states of a text become one, `[B, S, D]` to `[B, D]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    /// The first token's.
    Cls,
    /// The mean over tokens.
    Mean,
}

impl Pooling {
    pub(super) fn pool(self, states: &Tensor, batch: &Batch) -> CandleResult<Tensor> {
        match self {
            Self::Cls => states.i((.., 0, ..))?.contiguous(),
            Self::Mean => {
                let mask = batch.mask.to_dtype(states.dtype())?.unsqueeze(2)?;
                states.broadcast_mul(&mask)?.sum(1)?.broadcast_div(&mask.sum(1)?)
            }
        }
    }
}

type Activation = fn(&Tensor) -> CandleResult<Tensor>;

/// Pooled state, dense layer, activation, for ModernBERT a norm, logits.
pub(super) struct Head {
    pooling: Pooling,
    dense: Linear,
    activation: Activation,
    norm: Option<LayerNorm>,
    logits: Linear,
}

impl Head {
    pub(super) fn load(folder: &Folder, weights: &Weights, config: &Config, labels: usize) -> Result<Self, EncoderError> {
        let (pooling, activation) = (pooling(folder, config)?, activation(folder, config)?);
        let (dense, logits) = match config.network {
            Network::Bert(_) => ("bert.pooler.dense", "classifier"),
            Network::Roberta(_) => ("classifier.dense", "classifier.out_proj"),
            Network::DebertaV2(_) => ("pooler.dense", "classifier"),
            Network::ModernBert(_) => ("head.dense", "classifier"),
        };
        let size = config.hidden_size;
        let load = || -> CandleResult<Self> {
            let norm = match config.network {
                Network::ModernBert(_) => Some(layer_norm_no_bias(size, config.layer_norm_eps, weights.tensors.pp("head.norm"))?),
                _ => None,
            };
            let (dense, logits) = (linear(size, size, &weights.tensors.pp(dense))?, linear(size, labels, &weights.tensors.pp(logits))?);
            Ok(Self { pooling, dense, activation, norm, logits })
        };
        load().map_err(|error| weights.broken(error))
    }

    /// Logits, `[B, labels]`.
    pub(super) fn forward(&self, states: &Tensor, batch: &Batch) -> CandleResult<Tensor> {
        let state = (self.activation)(&self.dense.forward(&self.pooling.pool(states, batch)?)?)?;
        let state = self.norm.as_ref().map_or(Ok(state.clone()), |norm| norm.forward(&state))?;
        self.logits.forward(&state)
    }
}

/// A linear layer, with a bias where one is stored.
fn linear(input: usize, output: usize, tensors: &VarBuilder<'_>) -> CandleResult<Linear> {
    let weight = tensors.get((output, input), "weight")?;
    let bias = if tensors.contains_tensor("bias") { Some(tensors.get(output, "bias")?) } else { None };
    Ok(Linear::new(weight, bias))
}

fn pooling(folder: &Folder, config: &Config) -> Result<Pooling, EncoderError> {
    let found = match config.network {
        Network::ModernBert(_) => config.json["classifier_pooling"].as_str().unwrap_or("cls"),
        _ => "cls",
    };
    match found {
        "cls" => Ok(Pooling::Cls),
        "mean" => Ok(Pooling::Mean),
        other => Err(unsupported(folder, "classifier_pooling", other, "cls, mean")),
    }
}

/// The activation of the dense layer: fixed for BERT and RoBERTa, a setting for the others.
fn activation(folder: &Folder, config: &Config) -> Result<Activation, EncoderError> {
    let (key, found) = match config.network {
        Network::Bert(_) | Network::Roberta(_) => return Ok(Tensor::tanh),
        Network::DebertaV2(_) => ("pooler_hidden_act", config.json["pooler_hidden_act"].as_str()),
        Network::ModernBert(_) => ("classifier_activation", config.json["classifier_activation"].as_str()),
    };
    match found.unwrap_or("gelu") {
        "gelu" => Ok(Tensor::gelu_erf),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Tensor::gelu),
        "relu" => Ok(Tensor::relu),
        "tanh" => Ok(Tensor::tanh),
        other => Err(unsupported(folder, key, other, "gelu, gelu_new, gelu_pytorch_tanh, relu, tanh")),
    }
}

fn unsupported(folder: &Folder, key: &'static str, found: &str, supported: &str) -> EncoderError {
    EncoderError::Unsupported { path: folder.file(FILE), key, found: found.to_owned(), supported: supported.to_owned() }
}
