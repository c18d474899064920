//! What a token costs: parameters, FLOPs and bytes of a StableLM 2, dense or routed, for prefill, decode and training.
//!
//! One multiply-accumulate is two FLOPs, and only matrix products count: the projections, the router, the head and the attention core
//! (causal, so that a token attends to those before it and itself). The formulas are closed forms of the configuration, in the manner of
//! PaLM's appendix B (arXiv 2204.02311) with the causal half, the router and the head stated instead of hidden;
//! [`Account::conventions`] says all of it in words, to stand under every table.

mod components;
mod parts;
mod request;
mod traffic;
mod widths;

use serde::Serialize;

pub use self::components::{Component, Place};
use self::parts::Parts;
pub use self::request::Request;
use self::traffic::Traffic;
pub use self::traffic::distinct_experts;
pub use self::widths::{WeightBytes, WeightKind};
use crate::config::Config;
use crate::error::{Error, Result};

// D hidden, L layers, V vocabulary, N experts, K chosen experts, P parameters in matrix products, C key/value heads of size d.

/// The situation to count for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Setting {
    /// Tokens: length of a prompt or training sequence, and positions a decoded token attends to, itself included.
    pub context: u64,
    /// Sequences side by side.
    pub batch: u64,
    /// Bytes of one stored weight: 4 for f32, 2 for bf16, about 0.53 for 4 bits with group scales.
    pub weight_bytes: f64,
    /// The same by kind of tensor, where kinds differ (quantised files); it goes before `weight_bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_bytes_by_kind: Option<WeightBytes>,
    /// Bytes of one element of the KV cache.
    pub cache_bytes: f64,
    /// Distinct experts a batch of decoded tokens touches in one routed layer, where it was measured; else [`distinct_experts`].
    pub measured_experts: Option<f64>,
}

impl Default for Setting {
    /// One sequence of 4096 tokens, bf16 throughout.
    fn default() -> Self {
        Self { context: 4096, batch: 1, weight_bytes: 2.0, weight_bytes_by_kind: None, cache_bytes: 2.0, measured_experts: None }
    }
}

impl Setting {
    /// Bytes of one stored weight of each kind.
    pub fn widths(&self) -> WeightBytes {
        self.weight_bytes_by_kind.unwrap_or_else(|| WeightBytes::uniform(self.weight_bytes))
    }

    fn check(&self) -> Result<()> {
        let widths = [self.weight_bytes, self.cache_bytes];
        let by_kind = self.widths().all().iter().all(|width| width.is_finite() && *width >= 0.0);
        if self.context == 0 || self.batch == 0 || !by_kind || !widths.iter().all(|width| width.is_finite() && *width > 0.0) {
            return Err(Error::Input("context, batch and bytes an element must each be above zero".into()));
        }
        Ok(())
    }
}

/// Parameters one token meets in matrix products, by place; they sum to [`Account::matmul_parameters`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Breakdown {
    /// Query, key, value and output projections of all layers.
    pub attention: u64,
    /// Dense MLPs, the `K` chosen experts of routed layers, and the expert for all tokens where there is one.
    pub mlp: u64,
    /// Routers, `N x D` a routed layer.
    pub router: u64,
    /// The head, `V x D`, padding of the vocabulary included.
    pub head: u64,
}

/// What a token costs in a [`Setting`]. FLOPs are per token, with one multiply-accumulate counted as two.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Account {
    /// The situation counted for.
    pub setting: Setting,
    /// All parameters: embedding, every expert, norms and biases (also those a file may leave out); a tied head once.
    pub parameters: u64,
    /// The same with `K` experts instead of `N` in every routed layer.
    pub active_parameters: u64,
    /// Parameters one token meets in matrix products: the embedding look-up, norms and biases are none.
    pub matmul_parameters: u64,
    /// The same by place.
    pub breakdown: Breakdown,
    /// FLOPs and bytes by place; they sum to those below.
    pub components: Vec<Component>,
    /// FLOPs of the attention core for every position attended to: `4 L D` (scores and weighted sum).
    pub attention_flops: f64,
    /// Forward FLOPs, mean over a sequence of `context` tokens, the head at every position: `2 P + 4 L D (context + 1) / 2`.
    pub forward_flops: f64,
    /// The same for a prompt, the head at its last position only.
    pub prefill_flops: f64,
    /// FLOPs of the token that attends to `context` positions: `2 P + 4 L D context`.
    pub decode_flops: f64,
    /// Three times `forward_flops`: the backward pass is twice the forward pass, nothing is recomputed.
    pub training_flops: f64,
    /// Bytes of all weights.
    pub weight_bytes: f64,
    /// Bytes of keys and values one token leaves in the cache: `2 L C d`.
    pub cache_bytes_per_token: f64,
    /// Distinct experts that a step of `batch` decoded tokens touches in one routed layer (0 for a dense model).
    pub distinct_experts: f64,
    /// Bytes per token of a prefill of `batch` prompts.
    pub prefill_bytes: f64,
    /// Bytes of one decoding step of the whole batch: weights touched, and the cache of every sequence.
    pub decode_step_bytes: f64,
    /// `decode_step_bytes` divided by the batch.
    pub decode_bytes: f64,
    /// Bytes per token of a training step on `batch` sequences, activations left out.
    pub training_bytes: f64,
    /// Bytes that weights, gradients and AdamW's state take in mixed precision: 16 a parameter (2 + 2 + 4 + 4 + 4).
    pub training_state_bytes: f64,
}

impl Account {
    /// Counts for a model in a setting.
    ///
    /// # Errors
    /// When a number of the setting is zero or negative, or the model has more than 2^53 parameters.
    pub fn new(config: &Config, setting: Setting) -> Result<Self> {
        setting.check()?;
        let parts = Parts::new(config)?;
        let (matmul, total) = (parts.matmul(), parts.total());
        let context = setting.context as f64;
        let attention_flops = 4.0 * parts.layers * parts.hidden;
        let forward_flops = 2.0 * matmul + attention_flops * (context + 1.0) / 2.0;
        let traffic = Traffic { parts: &parts, setting };
        let decode_step_bytes = traffic.decode();
        Ok(Self {
            setting,
            parameters: total as u64,
            active_parameters: (total - parts.idle_experts()) as u64,
            matmul_parameters: matmul as u64,
            breakdown: parts.breakdown(),
            components: components::components(&traffic),
            attention_flops,
            forward_flops,
            prefill_flops: forward_flops - 2.0 * parts.head * (context - 1.0) / context,
            decode_flops: 2.0 * matmul + attention_flops * context,
            training_flops: 3.0 * forward_flops,
            weight_bytes: parts.bytes(&setting.widths()),
            cache_bytes_per_token: traffic.cache_token(),
            distinct_experts: traffic.decode_experts(),
            prefill_bytes: traffic.prefill() / traffic.tokens(),
            decode_step_bytes,
            decode_bytes: decode_step_bytes / setting.batch as f64,
            training_bytes: traffic.training() / traffic.tokens(),
            training_state_bytes: 16.0 * total,
        })
    }

    /// Every convention behind the numbers, a sentence each.
    pub fn conventions(&self) -> Vec<String> {
        let Setting { context, batch, weight_bytes, weight_bytes_by_kind, cache_bytes, measured_experts } = self.setting;
        let widths = weight_bytes_by_kind.map_or_else(|| format!("{weight_bytes} bytes each"), |widths| widths.to_string());
        let experts = if measured_experts.is_some() { "as measured" } else { "N (1 - (1 - K/N)^tokens), uniform independent routing" };
        vec![
            "One multiply-accumulate is two FLOPs; only matrix products are counted (no norm, softmax, rotation, activation or look-up)."
                .into(),
            "The router and the head are counted, the head with the padding of the vocabulary; of the experts, the K chosen ones.".into(),
            format!("Attention is causal: forward, prefill and training are means over {context} positions, decode attends to {context}."),
            "Prefill computes the head at the last position only. Training is three times forward, without recomputation.".into(),
            format!("Weights take {widths}, the KV cache {cache_bytes} bytes an element; activations are not counted as bytes."),
            format!(
                "A decoding step serves {batch} sequences: it reads each weight it touches once, and the whole cache of each sequence."
            ),
            format!("Distinct experts a routed layer reads: {experts}; tokens is {batch} in decode, {batch} x {context} else."),
            "A training step reads weights twice, writes and reads gradients once; AdamW reads and writes weight and moments in f32."
                .into(),
        ]
    }
}
