//! The routed MLP: a router, `N` experts packed for grouped matrix products, no token dropped.
//!
//! Gate orders as in facts of the literature: Mixtral (arXiv 2401.04088), Switch (2101.03961); see [`Gate`]. The router runs in f32
//! (ST-MoE, 2202.08906).

use tch::{Kind, Tensor};

use crate::config::{Gate, MoeConfig};
use crate::error::Result;
use crate::ext;
use crate::init::Source;

// T tokens, D hidden, F expert width, N experts, K chosen experts, A = T*K assignments.

/// A routed MLP layer.
#[derive(Debug)]
pub struct Moe {
    /// Router rows, `[N, D]`.
    pub router: Tensor,
    /// Gate projections of all experts, `[N, F, D]`.
    pub gate_proj: Tensor,
    /// Up projections, `[N, F, D]`.
    pub up_proj: Tensor,
    /// Down projections, `[N, D, F]`.
    pub down_proj: Tensor,
    top_k: i64,
    gate: Gate,
}

/// What the router of one layer did with a batch.
#[derive(Debug)]
pub struct Routing {
    /// Index of the layer in the model.
    pub layer: usize,
    /// Router logits `[T, N]`, f32, with gradient while training.
    pub logits: Tensor,
    /// Tokens sent to each expert, `[N]`, i64; sums to `T*K`.
    pub counts: Tensor,
}

impl Moe {
    /// Takes the layer's tensors from a source; `prefix` is `model.layers.{i}.mlp`.
    ///
    /// # Errors
    /// When one is absent.
    pub fn new(source: &dyn Source, prefix: &str, hidden: i64, config: &MoeConfig) -> Result<Self> {
        let (n, f) = (config.num_experts, config.expert_intermediate_size);
        let packed = |name: &str, shape: [i64; 2]| {
            let names: Vec<_> = (0..n).map(|expert| format!("{prefix}.experts.{expert}.{name}.weight")).collect();
            source.packed(&names, &shape)
        };
        Ok(Self {
            router: source.tensor(&format!("{prefix}.gate.weight"), &[n, hidden])?,
            gate_proj: packed("gate_proj", [f, hidden])?,
            up_proj: packed("up_proj", [f, hidden])?,
            down_proj: packed("down_proj", [hidden, f])?,
            top_k: config.experts_per_token,
            gate: config.gate,
        })
    }

    /// `x [.., D]` through the experts the router chooses; also the router's logits and loads.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn forward(&self, x: &Tensor, layer: usize) -> Result<(Tensor, Routing)> {
        let shape = x.size();
        let x = x.f_reshape([-1, *shape.last().unwrap_or(&1)])?; // [T, D]
        let logits = x.f_to_kind(Kind::Float)?.f_linear(&self.router.f_to_kind(Kind::Float)?, None::<&Tensor>)?; // [T, N]
        let (weights, experts) = choose(&logits, self.gate, self.top_k)?; // [T, K] each
        let counts = experts.f_one_hot(self.router.size()[0])?.f_sum_dim_intlist([0, 1].as_slice(), false, Kind::Int64)?; // [N]
        let y = self.run(&x, &weights, &experts, &counts)?;
        Ok((y.f_reshape(&shape[..])?, Routing { layer, logits, counts }))
    }

    /// Sorts assignments by expert, runs all experts as grouped products, and adds the weighted results back to their tokens.
    fn run(&self, x: &Tensor, weights: &Tensor, experts: &Tensor, counts: &Tensor) -> Result<Tensor> {
        let order = experts.f_flatten(0, -1)?.f_argsort_stable(true, 0, false)?; // [A]
        let tokens = order.f_floor_divide_scalar(self.top_k)?; // [A]
        let ends = counts.f_cumsum(0, Kind::Int64)?.f_to_kind(Kind::Int)?; // [N]
        let rows = x.f_index_select(0, &tokens)?; // [A, D]
        let gated = ext::grouped_linear(&rows, &self.gate_proj, &ends)?.f_silu()?;
        let inner = gated.f_mul(&ext::grouped_linear(&rows, &self.up_proj, &ends)?)?; // [A, F]
        let outer = ext::grouped_linear(&inner, &self.down_proj, &ends)?; // [A, D]
        let scale = weights.f_flatten(0, -1)?.f_index_select(0, &order)?.f_unsqueeze(1)?.f_to_kind(x.kind())?; // [A, 1]
        Ok(x.f_zeros_like()?.f_index_add(0, &tokens, &outer.f_mul(&scale)?)?)
    }
}

/// The chosen experts' weights (f32, differentiable) and indices, `[T, K]` each, from router logits `[T, N]`.
///
/// # Errors
/// When `top_k` exceeds `N`.
pub fn choose(logits: &Tensor, gate: Gate, top_k: i64) -> Result<(Tensor, Tensor)> {
    if gate == Gate::TopkSoftmax {
        let (chosen, experts) = logits.f_topk(top_k, -1, true, true)?;
        return Ok((chosen.f_softmax(-1, Kind::Float)?, experts));
    }
    let (chosen, experts) = logits.f_softmax(-1, Kind::Float)?.f_topk(top_k, -1, true, true)?;
    let total = || chosen.f_sum_dim_intlist([-1].as_slice(), true, Kind::Float);
    let weights = match gate {
        Gate::SoftmaxTopkRenorm => chosen.f_div(&total()?)?,
        Gate::SoftmaxTopkSt => chosen.f_div(&total()?.f_detach()?)?,
        Gate::SoftmaxTopk | Gate::TopkSoftmax => chosen,
    };
    Ok((weights, experts))
}
