//! Bytes a step moves between memory and processor: weights, KV cache, optimizer state.

use super::Setting;
use super::parts::Parts;

/// Experts of `num_experts` that `tokens` tokens touch, each choosing `experts_per_token` uniformly and independently of the others:
/// `N (1 - (1 - K/N)^tokens)`.
pub fn distinct_experts(num_experts: f64, experts_per_token: f64, tokens: f64) -> f64 {
    num_experts * (1.0 - (1.0 - experts_per_token / num_experts).powf(tokens))
}

/// Bytes that must move between memory and processor.
pub(super) struct Traffic<'a> {
    /// Parameters by place.
    pub(super) parts: &'a Parts,
    /// The situation counted for.
    pub(super) setting: Setting,
}

impl Traffic<'_> {
    /// Tokens of a prefill or training step.
    pub(super) fn tokens(&self) -> f64 {
        self.setting.batch as f64 * self.setting.context as f64
    }

    /// Keys and values of one token, all layers.
    pub(super) fn cache_token(&self) -> f64 {
        self.setting.cache_bytes * 2.0 * self.parts.layers * self.parts.key_value
    }

    pub(super) fn decode_experts(&self) -> f64 {
        self.setting.measured_experts.unwrap_or_else(|| self.touched(self.setting.batch as f64))
    }

    fn touched(&self, tokens: f64) -> f64 {
        let Parts { experts, chosen, .. } = *self.parts;
        if experts == 0.0 { 0.0 } else { distinct_experts(experts, chosen, tokens) }
    }

    /// Bytes of weights a pass over `tokens` tokens reads once: shared ones, `experts` a routed layer, and a row of the embedding a token.
    fn weights(&self, tokens: f64, experts: f64) -> f64 {
        self.by_place(tokens, experts).iter().sum()
    }

    /// The same by place: attention, dense MLPs, experts, experts for all tokens, routers, head, rows of the embedding with norms and biases.
    pub(super) fn by_place(&self, tokens: f64, experts: f64) -> [f64; 7] {
        let (parts, widths) = (self.parts, self.setting.widths());
        [
            widths.attention * parts.attention,
            widths.mlp * parts.dense,
            widths.mlp * parts.routed * experts * parts.expert,
            widths.mlp * parts.shared_experts,
            widths.router * parts.router,
            widths.head * parts.head,
            widths.embedding * tokens * parts.hidden + widths.other * parts.elementwise,
        ]
    }

    pub(super) fn decode(&self) -> f64 {
        self.weights(self.setting.batch as f64, self.decode_experts()) + self.cache_token() * self.tokens()
    }

    pub(super) fn prefill(&self) -> f64 {
        self.weights(self.tokens(), self.touched(self.tokens())) + self.cache_token() * self.tokens()
    }

    pub(super) fn training(&self) -> f64 {
        let (passes, optimizer) = (2.0 * self.weights(self.tokens(), self.touched(self.tokens())), 24.0 * self.parts.total());
        passes + 2.0 * self.parts.bytes(&self.setting.widths()) + optimizer
    }
}
