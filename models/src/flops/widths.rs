//! Bytes of one stored weight, by kind of tensor: quantised files keep some kinds wide and others narrow.

use std::fmt;

use serde::Serialize;

use super::parts::Parts;
use crate::checkpoint::Checkpoint;
use crate::error::Result;

/// Kinds of tensors that are stored alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightKind {
    /// The table of embeddings.
    Embedding,
    /// Query, key, value and output projections.
    Attention,
    /// Projections of dense MLPs, experts and experts for all tokens.
    Mlp,
    /// Routers.
    Router,
    /// The head, where it is a matrix of its own.
    Head,
    /// Norms and biases.
    Other,
}

impl WeightKind {
    /// The kind of the tensor `name`, whatever stands after the module's name: `weight`, or a quantised file's parts of it.
    pub fn of(name: &str) -> Self {
        let within = |part: &str| name.contains(part);
        match name {
            _ if name.ends_with(".bias") || within("norm") || within("e_score_correction") => Self::Other,
            _ if within("embed_tokens.") => Self::Embedding,
            _ if within("lm_head.") => Self::Head,
            _ if within(".self_attn.") => Self::Attention,
            _ if within(".mlp.gate.") => Self::Router,
            _ => Self::Mlp,
        }
    }
}

/// Bytes of one stored weight of each kind: 4 for f32, 2 for bf16, about 0.53 for 4 bits with group scales.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WeightBytes {
    /// Of the embedding.
    pub embedding: f64,
    /// Of attention's projections.
    pub attention: f64,
    /// Of MLPs and experts.
    pub mlp: f64,
    /// Of routers.
    pub router: f64,
    /// Of the head; that of the embedding where they are tied.
    pub head: f64,
    /// Of norms and biases.
    pub other: f64,
}

impl WeightBytes {
    /// The same for every kind.
    pub fn uniform(bytes: f64) -> Self {
        Self { embedding: bytes, attention: bytes, mlp: bytes, router: bytes, head: bytes, other: bytes }
    }

    /// As a checkpoint stores them: bytes of all tensors of a kind, over the weights of that kind.
    ///
    /// # Errors
    /// When the model has more than 2^53 parameters.
    pub fn stored(checkpoint: &Checkpoint) -> Result<Self> {
        let parts = Parts::new(&checkpoint.config)?;
        let bytes = |kind: WeightKind| -> Result<f64> {
            let names = checkpoint.names().filter(|name| WeightKind::of(name) == kind && !crate::tensors::is_buffer(name));
            names.map(|name| Ok(checkpoint.bytes(name)?.len() as f64)).sum()
        };
        let width = |kind: WeightKind| -> Result<f64> {
            let weights = parts.of_kind(kind);
            Ok(if weights == 0.0 { 0.0 } else { bytes(kind)? / weights })
        };
        let (embedding, head) = (bytes(WeightKind::Embedding)? / parts.head, width(WeightKind::Head)?);
        Ok(Self {
            embedding,
            attention: width(WeightKind::Attention)?,
            mlp: width(WeightKind::Mlp)?,
            router: width(WeightKind::Router)?,
            head: if checkpoint.config.tie_word_embeddings { embedding } else { head },
            other: width(WeightKind::Other)?,
        })
    }

    /// All of them, to be checked.
    pub(super) fn all(&self) -> [f64; 6] {
        [self.embedding, self.attention, self.mlp, self.router, self.head, self.other]
    }
}

impl fmt::Display for WeightBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { embedding, attention, mlp, router, head, other } = self;
        write!(f, "bytes each by kind: embedding {embedding:.3}, attention {attention:.3}, MLPs and experts {mlp:.3}, ")?;
        write!(f, "routers {router:.3}, head {head:.3}, norms and biases {other:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_kinds() {
        let kinds = [
            ("model.embed_tokens.weight", WeightKind::Embedding),
            ("lm_head.weight", WeightKind::Head),
            ("model.layers.3.self_attn.q_proj.weight", WeightKind::Attention),
            ("model.layers.3.self_attn.q_proj.bias", WeightKind::Other),
            ("model.layers.3.self_attn.q_layernorm.norms.1.weight", WeightKind::Other),
            ("model.layers.3.mlp.gate.weight", WeightKind::Router),
            ("model.layers.3.mlp.gate.e_score_correction_bias", WeightKind::Other),
            ("model.layers.3.mlp.gate_proj.weight", WeightKind::Mlp),
            ("model.layers.3.mlp.experts.7.down_proj.scales", WeightKind::Mlp),
            ("model.layers.3.mlp.shared_expert_gate.weight", WeightKind::Mlp),
            ("model.norm.weight", WeightKind::Other),
        ];
        for (name, kind) in kinds {
            assert_eq!(WeightKind::of(name), kind, "{name}");
        }
    }
}
