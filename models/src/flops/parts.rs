//! Parameters by place, in closed form.

use super::Breakdown;
use super::widths::{WeightBytes, WeightKind};
use crate::config::{Config, MoeConfig};
use crate::error::{Error, Result};

// D hidden, F MLP width, V vocabulary, N experts, K chosen experts, C key/value heads of size d.

/// Parameters by place, as f64: exact below 2^53, and no configuration can overflow it.
pub(super) struct Parts {
    /// `L`.
    pub(super) layers: f64,
    /// `D`.
    pub(super) hidden: f64,
    /// C*d.
    pub(super) key_value: f64,
    /// 0 where the head is the same matrix.
    pub(super) embedding: f64,
    /// V*D.
    pub(super) head: f64,
    /// All layers, matrices.
    pub(super) attention: f64,
    /// MLPs of all dense layers.
    pub(super) dense: f64,
    /// Of all routed layers.
    pub(super) router: f64,
    /// One expert.
    pub(super) expert: f64,
    /// MLPs and gates of the experts that every token passes, all routed layers.
    pub(super) shared_experts: f64,
    /// Number of routed layers.
    pub(super) routed: f64,
    /// N.
    pub(super) experts: f64,
    /// K.
    pub(super) chosen: f64,
    /// Norms and biases of all layers.
    pub(super) elementwise: f64,
}

impl Parts {
    pub(super) fn new(config: &Config) -> Result<Self> {
        let (hidden, layers, moe) = (config.hidden_size as f64, config.num_hidden_layers as f64, config.moe.as_ref());
        let key_value = config.num_key_value_heads as f64 * config.head_dim() as f64;
        let routed = moe.map_or(0.0, |moe| moe.layers.len() as f64);
        let head = config.vocab_size as f64 * hidden;
        let experts = moe.map_or(0.0, |moe| moe.num_experts as f64);
        let parts = Self {
            layers,
            hidden,
            key_value,
            embedding: if config.tie_word_embeddings { 0.0 } else { head },
            head,
            attention: layers * 2.0 * hidden * (hidden + key_value),
            dense: (layers - routed) * 3.0 * hidden * config.intermediate_size as f64,
            router: routed * experts * hidden,
            expert: moe.map_or(0.0, |moe| 3.0 * hidden * moe.expert_intermediate_size as f64),
            shared_experts: routed * moe.map_or(0.0, |moe| shared_expert(moe, hidden)),
            routed,
            experts,
            chosen: moe.map_or(0.0, |moe| moe.experts_per_token as f64),
            elementwise: norms(config) + biases(config) + routed * router_bias(moe),
        };
        if parts.total() > (1_u64 << 53) as f64 {
            return Err(Error::Config("the sizes describe more than 2^53 parameters".into()));
        }
        Ok(parts)
    }

    pub(super) fn total(&self) -> f64 {
        self.matmul() + self.idle_experts() + self.elementwise + self.embedding
    }

    /// Parameters one token meets in matrix products.
    pub(super) fn matmul(&self) -> f64 {
        self.head + self.attention + self.dense + self.router + self.shared_experts + self.routed * self.chosen * self.expert
    }

    /// All parameters of a kind; a tied head is the embedding.
    pub(super) fn of_kind(&self, kind: WeightKind) -> f64 {
        match kind {
            WeightKind::Embedding => self.embedding,
            WeightKind::Attention => self.attention,
            WeightKind::Mlp => self.dense + self.shared_experts + self.routed * self.experts * self.expert,
            WeightKind::Router => self.router,
            WeightKind::Head => self.head,
            WeightKind::Other => self.elementwise,
        }
    }

    /// Bytes of all weights.
    pub(super) fn bytes(&self, widths: &WeightBytes) -> f64 {
        let WeightBytes { embedding, attention, mlp, router, head, other } = *widths;
        let kinds = [
            (WeightKind::Embedding, embedding),
            (WeightKind::Attention, attention),
            (WeightKind::Mlp, mlp),
            (WeightKind::Router, router),
            (WeightKind::Head, head),
            (WeightKind::Other, other),
        ];
        kinds.into_iter().map(|(kind, width)| width * self.of_kind(kind)).sum()
    }

    pub(super) fn idle_experts(&self) -> f64 {
        self.routed * (self.experts - self.chosen) * self.expert
    }

    pub(super) fn breakdown(&self) -> Breakdown {
        let mlp = self.dense + self.shared_experts + self.routed * self.chosen * self.expert;
        Breakdown { attention: self.attention as u64, mlp: mlp as u64, router: self.router as u64, head: self.head as u64 }
    }
}

/// Matrices of the expert for all tokens in one layer.
fn shared_expert(moe: &MoeConfig, hidden: f64) -> f64 {
    let size =
        |shared: &crate::config::SharedExpert| 3.0 * hidden * shared.intermediate_size as f64 + if shared.gated { hidden } else { 0.0 };
    moe.shared_expert.as_ref().map_or(0.0, size)
}

/// The balancing bias of one router.
fn router_bias(moe: Option<&MoeConfig>) -> f64 {
    moe.filter(|moe| moe.router_bias).map_or(0.0, |moe| moe.num_experts as f64)
}

/// LayerNorms of a model, the per-head ones included (those have no bias).
fn norms(config: &Config) -> f64 {
    let layers = config.num_hidden_layers as f64;
    let per_layer = if config.use_parallel_residual { 1.0 } else { 2.0 };
    let width = config.hidden_size as f64 * if config.layer_norm_bias { 2.0 } else { 1.0 };
    let heads = (config.num_attention_heads + config.num_key_value_heads) as f64;
    let per_head = if config.qk_layernorm { layers * heads * config.head_dim() as f64 } else { 0.0 };
    (layers * per_layer + 1.0) * width + per_head
}

/// Biases of the query, key and value projections.
fn biases(config: &Config) -> f64 {
    let heads = (config.num_attention_heads + 2 * config.num_key_value_heads) as f64;
    if config.use_qkv_bias { config.num_hidden_layers as f64 * heads * config.head_dim() as f64 } else { 0.0 }
}
