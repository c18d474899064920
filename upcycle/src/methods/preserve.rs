//! When a conversion computes the dense model's function, and why where it does not.

use serde::{Deserialize, Serialize};

use crate::convert::options::{Options, RouterInit};

/// What a method claims of its result before any training. The step-0 report measures it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preservation {
    /// The output is the dense model's, in exact arithmetic and for every input.
    Exact,
    /// It is not, for this reason.
    Not(String),
}

impl Preservation {
    /// This claim, unless the other is the weaker one.
    pub fn and(self, other: impl FnOnce() -> Self) -> Self {
        if self == Self::Exact { other() } else { self }
    }

    /// The claim in words.
    pub fn sentence(&self) -> String {
        match self {
            Self::Exact => "exact".into(),
            Self::Not(reason) => format!("not exact: {reason}"),
        }
    }

    /// [`Preservation::Exact`] if `holds`, else the reason.
    pub fn only_if(holds: bool, reason: impl FnOnce() -> String) -> Self {
        if holds { Self::Exact } else { Self::Not(reason()) }
    }
}

/// Exact where every token's weights sum to 1, so that equal experts are one MLP.
pub(super) fn weights_sum_to_one(options: &Options) -> Preservation {
    let gate = options.gate;
    if options.top_k == options.experts {
        return Preservation::Exact; // every expert for every token, by any gate
    }
    Preservation::only_if(!gate.is_expert_choice(), || {
        format!("gate {}: a token that no expert takes, or not with weight 1 in all, loses output of the MLP", gate.name())
    })
    .and(|| Preservation::only_if(gate.sums_to_one(), || format!("the weights of gate {} sum to less than 1 over the chosen", gate.name())))
}

/// Whether the router gives every expert the same logit for every token.
pub(super) fn router_is_uniform(options: &Options) -> bool {
    match options.router_init {
        RouterInit::Zero => true,
        RouterInit::Normal | RouterInit::Orthogonal => options.router_std == 0.0,
        _ => options.router_scale == 0.0,
    }
}
