//! Causal self-attention with partial rotary positions, optional grouped queries and per-head norms; in packed sequences each document
//! sees itself alone.

use tch::Tensor;

use crate::cache::Extension;
use crate::config::Config;
use crate::error::Result;
use crate::init::Source;
use crate::model::{Linear, Memory, Pass};

// B batch, S sequence, D hidden, H query heads, C key/value heads, d head size.

/// One LayerNorm per head, without bias, over `[B, heads, S, d]` (12B).
#[derive(Debug)]
pub struct HeadNorm {
    /// `[heads, d]`.
    pub weight: Tensor,
    eps: f64,
}

impl HeadNorm {
    fn new(source: &dyn Source, name: &str, heads: i64, config: &Config) -> Result<Self> {
        let names: Vec<_> = (0..heads).map(|head| format!("{name}.norms.{head}.weight")).collect();
        Ok(Self { weight: source.packed(&names, &[config.head_dim()])?, eps: config.layer_norm_eps })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (heads, width) = self.weight.size2()?;
        let normed = x.f_layer_norm([width], None::<&Tensor>, None, self.eps, false)?;
        Ok(normed.f_mul(&self.weight.f_view([heads, 1, width])?)?)
    }
}

/// Causal self-attention.
#[derive(Debug)]
pub struct Attention {
    /// `[H*d, D]`.
    pub q_proj: Linear,
    /// `[C*d, D]`.
    pub k_proj: Linear,
    /// `[C*d, D]`.
    pub v_proj: Linear,
    /// `[D, H*d]`.
    pub o_proj: Linear,
    /// Per-head norms of queries and keys (12B).
    pub head_norms: Option<(HeadNorm, HeadNorm)>,
    heads: i64,
    shared: i64,
}

impl Attention {
    /// Takes the projections under `prefix` from a source.
    ///
    /// # Errors
    /// When one is absent.
    pub fn new(source: &dyn Source, prefix: &str, config: &Config) -> Result<Self> {
        let (d, head) = (config.hidden_size, config.head_dim());
        let (heads, shared) = (config.num_attention_heads, config.num_key_value_heads);
        let project =
            |name: &str, heads: i64| Linear::new(source, &format!("{prefix}.{name}_proj"), [heads * head, d], config.use_qkv_bias);
        let norm = |name: &str, heads: i64| HeadNorm::new(source, &format!("{prefix}.{name}_layernorm"), heads, config);
        Ok(Self {
            q_proj: project("q", heads)?,
            k_proj: project("k", shared)?,
            v_proj: project("v", shared)?,
            o_proj: Linear::new(source, &format!("{prefix}.o_proj"), [d, heads * head], false)?,
            head_norms: if config.qk_layernorm { Some((norm("q", heads)?, norm("k", shared)?)) } else { None },
            heads,
            shared,
        })
    }

    /// `x [B, S, D]` to `[B, S, D]`; `index` is that of the layer, for its cache.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn forward(&self, x: &Tensor, index: usize, pass: &mut Pass) -> Result<Tensor> {
        let (b, s, _) = x.size3()?;
        let split = |x: Tensor, heads: i64| -> Result<Tensor> { Ok(x.f_view([b, s, heads, -1])?.f_transpose(1, 2)?) };
        let mut q = split(self.q_proj.forward(x)?, self.heads)?; // [B, H, S, d]
        let mut k = split(self.k_proj.forward(x)?, self.shared)?; // [B, C, S, d]
        let v = split(self.v_proj.forward(x)?, self.shared)?;
        if let Some((q_norm, k_norm)) = &self.head_norms {
            (q, k) = (q_norm.forward(&q)?, k_norm.forward(&k)?);
        }
        let (q, k) = (pass.angles.rotate(&q)?, pass.angles.rotate(&k)?);
        let y = self.attend(&q, &k, &v, index, pass)?; // [B, H, S, d]
        self.o_proj.forward(&y.f_transpose(1, 2)?.f_reshape([b, s, -1])?)
    }

    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor, index: usize, pass: &mut Pass) -> Result<Tensor> {
        match &mut pass.memory {
            Memory::Decode(cache) => return cache.attend(index, q, k, v),
            Memory::Prefill(cache) => cache.store_prefix(index, k, v),
            Memory::Extend(cache, extension) => return self.extend(q, extension.join(cache.prefix(index)?, k, v)?, extension),
            Memory::None => {}
        }
        let (k, v) = (self.for_each_query(k)?, self.for_each_query(v)?);
        if let Some(packing) = &pass.packing {
            return packing.attend(q, &k, &v);
        }
        Ok(Tensor::f_scaled_dot_product_attention(q, &k, &v, None::<&Tensor>, 0.0, true, None, false)?)
    }

    /// Attention of `q [B, H, S, d]` to the keys and values `[B, C, P+S, d]` of prefix and row.
    fn extend(&self, q: &Tensor, (k, v): (Tensor, Tensor), extension: &Extension) -> Result<Tensor> {
        let (k, v) = (self.for_each_query(&k)?, self.for_each_query(&v)?);
        Ok(Tensor::f_scaled_dot_product_attention(q, &k, &v, Some(&extension.mask), 0.0, false, None, false)?)
    }

    /// `[B, C, S, d]` to `[B, H, S, d]`: every query head sees the keys of its group.
    fn for_each_query(&self, x: &Tensor) -> Result<Tensor> {
        if self.heads == self.shared {
            return Ok(x.shallow_clone());
        }
        Ok(x.f_repeat_interleave_self_int(self.heads / self.shared, 1, None)?)
    }
}
