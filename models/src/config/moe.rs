//! The routed experts of a `stablelm_moe`: how many, how wide, how a router's logits become weights, and where they came from.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Keys, require};
use crate::error::{Error, Result};

/// How router logits become combination weights. `z` are the logits of one token over `N` experts, of which `K` are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// `softmax(topk(z))`: the Mixtral order (arXiv 2401.04088). Weights sum to 1; at `K = 1` the router gets no gradient.
    #[default]
    TopkSoftmax,
    /// `topk(softmax(z))`: the Switch order (arXiv 2101.03961). Weights sum to less than 1.
    SoftmaxTopk,
    /// `topk(softmax(z))` divided by its sum: equal to [`Gate::TopkSoftmax`] in exact arithmetic.
    SoftmaxTopkRenorm,
    /// `p / stop_gradient(sum of the chosen p)`: weights sum to 1 in the forward pass and the router still learns at `K = 1`.
    SoftmaxTopkSt,
    /// `topk(sigmoid(z))` divided by its sum: each expert is judged by itself (DeepSeek-V3, arXiv 2412.19437). Weights sum to 1.
    SigmoidTopkRenorm,
    /// Each expert takes its `n K / N` tokens of largest `softmax(z)`, weighted by it (arXiv 2202.09368). Not causal.
    ExpertChoice,
    /// [`Gate::ExpertChoice`] with each token's weights divided by their sum; a token that no expert takes gets nothing.
    ExpertChoiceRenorm,
}

impl Gate {
    /// Every gate, in the order the command line lists them.
    pub const ALL: [Self; 7] = [
        Self::TopkSoftmax,
        Self::SoftmaxTopk,
        Self::SoftmaxTopkRenorm,
        Self::SoftmaxTopkSt,
        Self::SigmoidTopkRenorm,
        Self::ExpertChoice,
        Self::ExpertChoiceRenorm,
    ];

    /// The name used on the command line and in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::TopkSoftmax => "topk_softmax",
            Self::SoftmaxTopk => "softmax_topk",
            Self::SoftmaxTopkRenorm => "softmax_topk_renorm",
            Self::SoftmaxTopkSt => "softmax_topk_st",
            Self::SigmoidTopkRenorm => "sigmoid_topk_renorm",
            Self::ExpertChoice => "expert_choice",
            Self::ExpertChoiceRenorm => "expert_choice_renorm",
        }
    }

    /// Whether experts choose tokens, so that what a token gets depends on tokens after it.
    pub fn is_expert_choice(self) -> bool {
        matches!(self, Self::ExpertChoice | Self::ExpertChoiceRenorm)
    }

    /// Whether every token's weights sum to 1 (with expert choice: every token's that an expert takes).
    pub fn sums_to_one(self) -> bool {
        !matches!(self, Self::SoftmaxTopk | Self::ExpertChoice)
    }

    /// Whether the weight of a single chosen expert is the constant 1, so that at `K = 1` the router gets no gradient.
    pub fn is_constant_at_one(self) -> bool {
        matches!(self, Self::TopkSoftmax | Self::SoftmaxTopkRenorm | Self::SigmoidTopkRenorm)
    }
}

impl FromStr for Gate {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|gate| gate.name() == name)
            .ok_or_else(|| Error::Config(format!("unknown gate {name:?} (known: {known})")))
    }
}

/// An expert every token passes, beside the routed ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SharedExpert {
    /// Its `F`.
    pub intermediate_size: i64,
    /// Whether its output is multiplied by `sigmoid(x w)` (Qwen2-MoE).
    pub gated: bool,
}

/// The routed experts of a `stablelm_moe`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MoeConfig {
    /// `N`, routed experts per converted layer.
    pub num_experts: i64,
    /// `K`, experts each token is sent to; with expert choice, experts that take a token on average.
    pub experts_per_token: i64,
    /// How router logits become weights.
    pub gate: Gate,
    /// Indices of the converted layers, ascending.
    pub layers: Vec<usize>,
    /// `F` of one routed expert.
    pub expert_intermediate_size: i64,
    /// Whether a bias is added to each expert's score in the choice alone, never in the weights (DeepSeek-V3's balancing).
    pub router_bias: bool,
    /// `λ`: logits become `λ (z - mean) / std` over the experts (Skywork-MoE, arXiv 2406.06563); none leaves them.
    pub router_logit_norm: Option<f64>,
    /// Experts are chosen in groups of so many consecutive ones, by the group's mean score; 1 = each by itself.
    pub router_group_size: i64,
    /// An expert for all tokens, where there is one.
    pub shared_expert: Option<SharedExpert>,
    /// How the experts came from a dense model, carried along for whoever turns them back into one.
    pub upcycling: Option<Value>,
}

impl Default for MoeConfig {
    /// Eight experts, two for each token, by the Mixtral gate; no layer is converted yet.
    fn default() -> Self {
        Self {
            num_experts: 8,
            experts_per_token: 2,
            gate: Gate::TopkSoftmax,
            layers: Vec::new(),
            expert_intermediate_size: 0,
            router_bias: false,
            router_logit_norm: None,
            router_group_size: 1,
            shared_expert: None,
            upcycling: None,
        }
    }
}

impl MoeConfig {
    /// The keys of a `stablelm_moe`'s `config.json`; none for another model type.
    pub(super) fn read(keys: &Keys) -> Result<Option<Self>> {
        if keys.find("model_type").and_then(Value::as_str) != Some("stablelm_moe") {
            return Ok(None);
        }
        let layers = keys.find("moe_layers").cloned().ok_or_else(|| Error::Config("key moe_layers is absent".into()))?;
        let width = keys.number(&["shared_expert_intermediate_size"])?.unwrap_or(0.0);
        let shared = || -> Result<_> {
            Ok(SharedExpert {
                intermediate_size: keys.size("shared_expert_intermediate_size")?,
                gated: keys.flag("shared_expert_gated", false)?,
            })
        };
        Ok(Some(Self {
            num_experts: keys.size("num_experts")?,
            experts_per_token: keys.size("num_experts_per_tok")?,
            gate: keys.find("gate").and_then(Value::as_str).unwrap_or(Gate::TopkSoftmax.name()).parse()?,
            layers: serde_json::from_value(layers).map_err(|error| Error::Config(format!("moe_layers: {error}")))?,
            expert_intermediate_size: keys.size("moe_intermediate_size")?,
            router_bias: keys.flag("router_bias", false)?,
            router_logit_norm: keys.number(&["router_logit_norm"])?,
            router_group_size: keys.size_or("router_group_size", 1)?,
            shared_expert: if width == 0.0 { None } else { Some(shared()?) },
            upcycling: keys.find("upcycling").cloned(),
        }))
    }

    /// Adds the keys of a `stablelm_moe`; those that say nothing are left out.
    pub(super) fn write(&self, object: &mut Map<String, Value>) {
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        put("architectures", json!(["StableLmMoeForCausalLM"]));
        put("model_type", json!("stablelm_moe"));
        put(
            "auto_map",
            json!({"AutoConfig": "configuration_stablelm_moe.StableLmMoeConfig",
                               "AutoModelForCausalLM": "modeling_stablelm_moe.StableLmMoeForCausalLM"}),
        );
        put("num_experts", json!(self.num_experts));
        put("num_experts_per_tok", json!(self.experts_per_token));
        put("gate", json!(self.gate));
        put("moe_layers", json!(self.layers));
        put("moe_intermediate_size", json!(self.expert_intermediate_size));
        put("router_bias", json!(self.router_bias));
        put("router_logit_norm", json!(self.router_logit_norm));
        put("router_group_size", json!(self.router_group_size));
        put("shared_expert_intermediate_size", json!(self.shared_expert.as_ref().map_or(0, |shared| shared.intermediate_size)));
        put("shared_expert_gated", json!(self.shared_expert.as_ref().is_some_and(|shared| shared.gated)));
        if let Some(upcycling) = &self.upcycling {
            put("upcycling", upcycling.clone());
        }
    }

    /// Refuses what no router can follow.
    pub(super) fn check(&self, layers: usize) -> Result<()> {
        let (n, k, group) = (self.num_experts, self.experts_per_token, self.router_group_size);
        require(n <= 4096, || format!("num_experts {n} is above 4096"))?;
        require(k <= n, || format!("num_experts_per_tok {k} is above num_experts {n}"))?;
        require(n % group == 0 && k % group == 0, || {
            format!("router_group_size {group} divides num_experts {n} or num_experts_per_tok {k} with a rest")
        })?;
        require(group == 1 || !self.gate.is_expert_choice(), || format!("router_group_size {group} cannot be used with expert choice"))?;
        require(!self.router_bias || !self.gate.is_expert_choice(), || "router_bias cannot be used with expert choice".into())?;
        let scale = self.router_logit_norm.unwrap_or(1.0);
        require(scale.is_finite() && scale > 0.0, || format!("router_logit_norm {scale} is not positive"))?;
        require(!self.layers.is_empty(), || "moe_layers is empty".into())?;
        require(self.layers.is_sorted_by(|a, b| a < b), || "moe_layers is not ascending".into())?;
        require(self.layers.iter().all(|&layer| layer < layers), || format!("moe_layers names a layer beyond the last, {}", layers - 1))
    }
}
