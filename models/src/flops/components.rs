//! Where a token's FLOPs and bytes go.

use serde::Serialize;

use super::traffic::Traffic;

/// Parts of a model that cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Query, key, value and output projections.
    AttentionProjections,
    /// Scores and weighted sums; its bytes are those of the KV cache.
    AttentionCore,
    /// MLPs of layers without experts.
    DenseMlps,
    /// Routed experts.
    Experts,
    /// Experts that every token passes, with their gates.
    SharedExperts,
    /// Routers.
    Routers,
    /// The head.
    Head,
    /// Rows of the embedding, norms and biases: bytes alone.
    Elementwise,
}

impl Place {
    /// All of them, in the order tables show them.
    pub const ALL: [Self; 8] = [
        Self::AttentionProjections,
        Self::AttentionCore,
        Self::DenseMlps,
        Self::Experts,
        Self::SharedExperts,
        Self::Routers,
        Self::Head,
        Self::Elementwise,
    ];

    /// The name shown in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::AttentionProjections => "attention projections",
            Self::AttentionCore => "attention core, KV cache",
            Self::DenseMlps => "dense MLPs",
            Self::Experts => "experts",
            Self::SharedExperts => "shared experts",
            Self::Routers => "routers",
            Self::Head => "head",
            Self::Elementwise => "embedding, norms, biases",
        }
    }

    /// The place of the weight `name`, experts packed or not.
    pub fn of(name: &str) -> Self {
        let within = |part: &str| name.contains(part);
        match name {
            _ if name.ends_with(".bias") || within("norm") || within("e_score_correction") => Self::Elementwise,
            _ if within("embed_tokens.") => Self::Elementwise,
            _ if within("lm_head.") => Self::Head,
            _ if within(".self_attn.") => Self::AttentionProjections,
            _ if within(".mlp.gate.") => Self::Routers,
            _ if within(".mlp.experts.") => Self::Experts,
            _ if within(".mlp.shared_expert") => Self::SharedExperts,
            _ => Self::DenseMlps,
        }
    }
}

/// What one place costs: FLOPs per token, bytes per decoding step of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Component {
    /// Which.
    pub place: Place,
    /// FLOPs per token of a prompt.
    pub prefill_flops: f64,
    /// FLOPs of a decoded token.
    pub decode_flops: f64,
    /// FLOPs per token of training.
    pub training_flops: f64,
    /// Bytes of one decoding step of the whole batch.
    pub decode_step_bytes: f64,
}

/// Every place that costs something.
pub(super) fn components(traffic: &Traffic) -> Vec<Component> {
    let batch = traffic.setting.batch as f64;
    let [attention, dense, experts, shared, router, head, elementwise] = traffic.by_place(batch, traffic.decode_experts());
    let bytes = [attention, traffic.cache_token() * traffic.tokens(), dense, experts, shared, router, head, elementwise];
    let all = Place::ALL.into_iter().zip(bytes).map(|(place, bytes)| component(traffic, place, bytes));
    all.filter(|component| component.decode_flops + component.decode_step_bytes > 0.0).collect()
}

fn component(traffic: &Traffic, place: Place, decode_step_bytes: f64) -> Component {
    let (parts, context) = (traffic.parts, traffic.setting.context as f64);
    let core = 4.0 * parts.layers * parts.hidden; // for every position attended to
    let parameters = match place {
        Place::AttentionProjections => parts.attention,
        Place::DenseMlps => parts.dense,
        Place::Experts => parts.routed * parts.chosen * parts.expert,
        Place::SharedExperts => parts.shared_experts,
        Place::Routers => parts.router,
        Place::Head => parts.head,
        Place::AttentionCore | Place::Elementwise => 0.0,
    };
    let [mean, decode_flops] = match place {
        Place::AttentionCore => [core * (context + 1.0) / 2.0, core * context],
        _ => [2.0 * parameters; 2],
    };
    let prefill_flops = if place == Place::Head { mean / context } else { mean };
    Component { place, prefill_flops, decode_flops, training_flops: 3.0 * mean, decode_step_bytes }
}
