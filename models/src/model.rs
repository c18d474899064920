//! StableLM 2: LayerNorm, partial rotary attention with optional grouped queries and per-head norms, gated MLP (dense or routed),
//! sequential or parallel residual.
//!
//! Reference: transformers `models/stablelm/modeling_stablelm.py`; Stable LM 2 1.6B Technical Report, arXiv 2402.17834.

use std::sync::Arc;

use memmap2::Mmap;
use tch::{Device, Kind, Tensor};

use crate::attention::Attention;
use crate::cache::{Cache, Extension};
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::distributed::Group;
use crate::error::{Error, Result};
use crate::ext;
use crate::init::{Source, Stored};
use crate::moe::{Moe, Routing, Training};
use crate::observe::States;
use crate::packing::Packing;
use crate::rotary::{Angles, Rotary};

// B batch, S sequence, D hidden, F MLP width, H query heads, C key/value heads, d head size, V vocabulary.

/// A matrix `[out, in]` and its bias `[out]`, where it has one.
#[derive(Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Tensor,
    /// `[out]`.
    pub bias: Option<Tensor>,
}

impl Linear {
    pub(crate) fn new(source: &dyn Source, name: &str, shape: [i64; 2], bias: bool) -> Result<Self> {
        let weight = source.tensor(&format!("{name}.weight"), &shape)?;
        let bias = if bias { Some(source.tensor(&format!("{name}.bias"), &shape[..1])?) } else { None };
        Ok(Self { weight, bias })
    }

    /// `x [.., in]` to `[.., out]`.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ext::linear(x, &self.weight, self.bias.as_ref())?)
    }
}

/// LayerNorm over the last dimension; the bias is absent where the file has none.
#[derive(Debug)]
pub struct LayerNorm {
    /// `[D]`.
    pub weight: Tensor,
    /// `[D]`.
    pub bias: Option<Tensor>,
    eps: f64,
}

impl LayerNorm {
    /// Takes `{name}.weight` and, where there is one, `{name}.bias` from a source.
    ///
    /// # Errors
    /// When the weight is absent.
    pub fn new(source: &dyn Source, name: &str, config: &Config) -> Result<Self> {
        let shape = [config.hidden_size];
        let weight = source.tensor(&format!("{name}.weight"), &shape)?;
        let bias = source.optional(&format!("{name}.bias"), &shape)?;
        Ok(Self { weight, bias, eps: config.layer_norm_eps })
    }

    /// `x [.., D]`, normed over `D`.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_layer_norm(self.weight.size(), Some(&self.weight), self.bias.as_ref(), self.eps, false)?)
    }
}

/// `down(silu(gate(x)) * up(x))`.
#[derive(Debug)]
pub struct Mlp {
    /// `[F, D]`.
    pub gate_proj: Linear,
    /// `[F, D]`.
    pub up_proj: Linear,
    /// `[D, F]`.
    pub down_proj: Linear,
}

impl Mlp {
    /// Takes the three projections under `prefix` from a source.
    ///
    /// # Errors
    /// When one is absent.
    pub fn new(source: &dyn Source, prefix: &str, d: i64, f: i64) -> Result<Self> {
        let linear = |name: &str, shape| Linear::new(source, &format!("{prefix}.{name}"), shape, false);
        Ok(Self { gate_proj: linear("gate_proj", [f, d])?, up_proj: linear("up_proj", [f, d])?, down_proj: linear("down_proj", [d, f])? })
    }

    /// `x [.., D]` to `[.., D]`.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.down_proj.forward(&ext::fused::swiglu(&self.gate_proj.forward(x)?, &self.up_proj.forward(x)?)?)
    }
}

/// The MLP of a layer.
#[derive(Debug)]
pub enum FeedForward {
    /// One MLP for every token.
    Dense(Mlp),
    /// Routed experts.
    Moe(Box<Moe>),
}

/// Attention and MLP around the residual stream.
#[derive(Debug)]
pub struct Layer {
    /// Before attention (and before the MLP too, where the residual is parallel).
    pub input_layernorm: LayerNorm,
    /// Before the MLP; absent where the residual is parallel.
    pub post_attention_layernorm: Option<LayerNorm>,
    /// Self-attention.
    pub self_attn: Attention,
    /// MLP, dense or routed.
    pub mlp: FeedForward,
    index: usize,
}

impl Layer {
    /// Takes layer `index` from a source.
    ///
    /// # Errors
    /// When a tensor is absent.
    pub fn new(source: &dyn Source, config: &Config, index: usize) -> Result<Self> {
        let prefix = format!("model.layers.{index}");
        let norm = |name: &str| LayerNorm::new(source, &format!("{prefix}.{name}"), config);
        let mlp = format!("{prefix}.mlp");
        Ok(Self {
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: if config.use_parallel_residual { None } else { Some(norm("post_attention_layernorm")?) },
            self_attn: Attention::new(source, &format!("{prefix}.self_attn"), config)?,
            mlp: match config.moe_layer(index) {
                Some(moe) => FeedForward::Moe(Box::new(Moe::new(source, &mlp, config.hidden_size, moe)?)),
                None => FeedForward::Dense(Mlp::new(source, &mlp, config.hidden_size, config.intermediate_size)?),
            },
            index,
        })
    }

    /// The residual stream `x [B, S, D]` after this layer.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn forward(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let (x, normed) = self.attend(x, pass)?;
        Ok(x.f_add(&self.feed_forward(&normed, pass)?)?)
    }

    /// The first half of the layer: the residual stream after attention, and the normed input of the MLP, `[B, S, D]` each.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn attend(&self, x: &Tensor, pass: &mut Pass) -> Result<(Tensor, Tensor)> {
        let normed = self.input_layernorm.forward(x)?;
        let attended = x.f_add(&self.self_attn.forward(&normed, self.index, pass)?)?;
        let normed = self.post_attention_layernorm.as_ref().map_or(Ok(normed), |norm| norm.forward(&attended))?;
        Ok((attended, normed))
    }

    /// The MLP alone, on already normed `x [B, S, D]`.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn feed_forward(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let moe = match &self.mlp {
            FeedForward::Dense(mlp) => return mlp.forward(x),
            FeedForward::Moe(moe) => moe,
        };
        let (y, routing) = moe.forward(x, self.index, pass.training.as_ref())?;
        if let Some(routings) = &mut pass.routings {
            routings.push(routing);
        }
        Ok(y)
    }
}

/// What a forward pass does with keys and values.
#[derive(Debug)]
pub enum Memory<'a> {
    /// A whole sequence, nothing kept.
    None,
    /// A whole prompt, kept as the cache's prefix.
    Prefill(&'a mut Cache),
    /// One token a row, attending to the cache.
    Decode(&'a mut Cache),
    /// Several tokens a row, each row after one of the cache's prefixes; nothing kept.
    Extend(&'a Cache, Extension),
}

/// What one forward pass carries through the layers.
#[derive(Debug)]
pub struct Pass<'a> {
    /// Rotary angles of the positions at hand.
    pub angles: Angles,
    /// The KV cache, where there is one.
    pub memory: Memory<'a>,
    /// Where the documents lie that must not see one another; none where every sequence is one.
    pub packing: Option<Packing>,
    /// Collects what every router did, where asked for.
    pub routings: Option<Vec<Routing>>,
    /// What only training does to routing; none outside of training.
    pub training: Option<Training>,
    /// Keeps the states after chosen layers, where asked for.
    pub states: Option<States>,
}

/// A StableLM 2, ready to run.
#[derive(Debug)]
pub struct Model {
    /// Sizes and switches.
    pub config: Config,
    /// `[V, D]`.
    pub embed_tokens: Tensor,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
    /// Before the head.
    pub norm: LayerNorm,
    /// `[V, D]`; the embedding itself where they are tied.
    pub lm_head: Tensor,
    /// Tables of angles.
    pub rotary: Rotary,
    mappings: Vec<Arc<Mmap>>,
}

impl Model {
    /// Loads a checkpoint to compute in `kind` on `device`: in place where the file's element type allows, else as one converted copy.
    ///
    /// # Errors
    /// When a tensor cannot be read or converted.
    pub fn load(checkpoint: &Checkpoint, kind: Kind, device: Device) -> Result<Self> {
        let source = Stored { checkpoint, kind, device, owned: false };
        if source.reads_in_place() {
            checkpoint.prefault();
        }
        let model = Self::new(&source, &checkpoint.config, device)?;
        Ok(Self { mappings: checkpoint.mappings(), ..model })
    }

    /// Builds a model from any source of tensors that stay alive by themselves.
    ///
    /// # Errors
    /// When a tensor is absent.
    pub fn new(source: &dyn Source, config: &Config, device: Device) -> Result<Self> {
        let shape = [config.vocab_size, config.hidden_size];
        let embed_tokens = source.tensor("model.embed_tokens.weight", &shape)?;
        let layers = (0..config.num_hidden_layers).map(|index| Layer::new(source, config, index)).collect::<Result<Vec<_>>>()?;
        let norm = LayerNorm::new(source, "model.norm", config)?;
        let tied = config.tie_word_embeddings;
        let lm_head = if tied { embed_tokens.shallow_clone() } else { source.tensor("lm_head.weight", &shape)? };
        let rotary = Rotary::new(config, device)?;
        Ok(Self { config: config.clone(), embed_tokens, layers, norm, lm_head, rotary, mappings: Vec::new() })
    }

    /// Whether weights are read from a mapped file in place, and so must not be written to.
    pub fn is_mapped(&self) -> bool {
        !self.mappings.is_empty()
    }

    /// Spreads the experts of every routed layer over the processes of `group` ([`Moe::spread`]).
    ///
    /// # Errors
    /// When they cannot be spread.
    pub fn spread_experts(&mut self, group: &Group) -> Result<()> {
        let routed = self.layers.iter_mut().filter_map(|layer| if let FeedForward::Moe(moe) = &mut layer.mlp { Some(moe) } else { None });
        for moe in routed {
            moe.spread(group)?;
        }
        Ok(())
    }

    /// Device the weights are on.
    pub fn device(&self) -> Device {
        self.embed_tokens.device()
    }

    /// Element type the model computes in.
    pub fn kind(&self) -> Kind {
        self.embed_tokens.kind()
    }

    /// Logits `[B, S, V]` of whole sequences `ids [B, S]` (i64), right-padded rows allowed: padding is never seen by what stands before it.
    ///
    /// # Errors
    /// When an id is outside the vocabulary or the sequences are longer than the context.
    pub fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        let mut pass = self.pass(ids.size2()?.1, Memory::None)?;
        self.logits(&self.hidden(ids, &mut pass)?)
    }

    /// A pass over whole sequences of `length` tokens.
    ///
    /// # Errors
    /// When `length` exceeds the context.
    pub fn pass<'a>(&self, length: i64, memory: Memory<'a>) -> Result<Pass<'a>> {
        let limit = self.config.max_position_embeddings;
        if length > limit {
            return Err(Error::Input(format!("the input has {length} tokens, this model's context holds {limit}")));
        }
        Ok(Pass { angles: self.rotary.first(length)?, memory, packing: None, routings: None, training: None, states: None })
    }

    /// A pass over whole sequences of `length` tokens in which documents begin at `starts`, one list a sequence ([`Packing::new`]).
    ///
    /// # Errors
    /// When `length` exceeds the context or a start is not within its sequence.
    pub fn packed_pass(&self, length: i64, starts: &[Vec<i64>]) -> Result<Pass<'static>> {
        let packing = Packing::new(starts, length, self.kind(), self.device())?;
        let angles = self.rotary.at(&packing.positions)?;
        Ok(Pass { angles, packing: Some(packing), ..self.pass(length, Memory::None)? })
    }

    /// The residual stream `[B, S, D]` before the first layer, for `ids [B, S]` (i64).
    ///
    /// # Errors
    /// When an id is outside the vocabulary.
    pub fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        Ok(Tensor::f_embedding(&self.embed_tokens, ids, -1, false, false)?)
    }

    /// Hidden states `[B, S, D]` after the final norm, for `ids [B, S]` (i64).
    ///
    /// # Errors
    /// When an id is outside the vocabulary.
    pub fn hidden(&self, ids: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let mut x = self.embed(ids)?;
        for layer in &self.layers {
            x = layer.forward(&x, pass)?;
            if let Some(states) = &mut pass.states {
                states.keep(layer.index, &x);
            }
        }
        self.norm.forward(&x)
    }

    /// Hidden states of one new token per row, `ids [R]` (i64) to `[R, 1, D]`; the cache moves on by one.
    ///
    /// # Errors
    /// When the cache is full.
    pub fn decode(&self, ids: &Tensor, cache: &mut Cache) -> Result<Tensor> {
        Ok(self.decode_observed(ids, cache, &[])?.0)
    }

    /// [`Model::decode`], with the states `[R, 1, D]` after the given layers.
    ///
    /// # Errors
    /// When the cache is full.
    pub fn decode_observed(&self, ids: &Tensor, cache: &mut Cache, layers: &[usize]) -> Result<(Tensor, Vec<Tensor>)> {
        if cache.is_full() {
            return Err(Error::Input("the KV cache has no room for another token".into()));
        }
        let angles = self.rotary.at(&cache.positions()?.f_unsqueeze(1)?)?;
        let states = States::of(layers);
        let mut pass = Pass { angles, memory: Memory::Decode(cache), packing: None, routings: None, training: None, states };
        let hidden = self.hidden(&ids.f_unsqueeze(1)?, &mut pass)?;
        let states = pass.states.map_or_else(Vec::new, States::into_kept);
        cache.advance();
        Ok((hidden, states))
    }

    /// Logits `[.., V]` of hidden states `[.., D]`.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        Ok(ext::linear(hidden, &self.lm_head, None)?)
    }
}
