//! The router: which experts compute which tokens, and with which weights.
//!
//! It runs in f32 (ST-MoE, arXiv 2202.08906). Gate orders: Mixtral (2401.04088), Switch (2101.03961), DeepSeek-V3 (2412.19437),
//! expert choice (2202.09368); see [`Gate`]. Ties always go to the lower index, so that equal rows (virtual groups, a zero router)
//! choose the same experts on every machine.

use tch::{Kind, Tensor};

use crate::config::{Gate, MoeConfig};
use crate::error::Result;
use crate::init::Source;

// T tokens, D hidden, N experts, K chosen experts, A assignments (T*K with token choice), G group size.

/// Added to the variance of a token's logits before they are normalised.
const VARIANCE_FLOOR: f64 = 1e-6;

/// Added to a sum of weights that may all underflow (DeepSeek-V3).
const UNDERFLOW: f64 = 1e-20;

/// The router of one layer.
#[derive(Debug)]
pub struct Router {
    /// One row an expert, `[N, D]`.
    pub weight: Tensor,
    /// Added to the scores in the choice alone, `[N]`, f32.
    pub bias: Option<Tensor>,
    top_k: i64,
    gate: Gate,
    logit_norm: Option<f64>,
    group_size: i64,
}

/// Who computes what: assignments of tokens to experts, sorted by expert and within it by token.
#[derive(Debug)]
pub struct Assignment {
    /// The token of each assignment, `[A]`, i64.
    pub tokens: Tensor,
    /// The weight of each, `[A]`, f32, with gradient while training.
    pub weights: Tensor,
    /// Assignments of each expert, `[N]`, i64; sums to `A`.
    pub counts: Tensor,
}

impl Router {
    /// Takes the router's tensors from a source; `prefix` is `model.layers.{i}.mlp`.
    ///
    /// # Errors
    /// When one is absent.
    pub fn new(source: &dyn Source, prefix: &str, hidden: i64, config: &MoeConfig) -> Result<Self> {
        let n = config.num_experts;
        let bias = |name: String| source.exact(&name, &[n]);
        Ok(Self {
            weight: source.tensor(&format!("{prefix}.gate.weight"), &[n, hidden])?,
            bias: config.router_bias.then(|| bias(format!("{prefix}.gate.e_score_correction_bias"))).transpose()?,
            top_k: config.experts_per_token,
            gate: config.gate,
            logit_norm: config.router_logit_norm,
            group_size: config.router_group_size,
        })
    }

    /// Logits `[T, N]` in f32 of tokens `x [T, D]`.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn logits(&self, x: &Tensor) -> Result<Tensor> {
        let z = x.f_to_kind(Kind::Float)?.f_linear(&self.weight.f_to_kind(Kind::Float)?, None::<&Tensor>)?;
        let Some(scale) = self.logit_norm else { return Ok(z) };
        let centred = z.f_sub(&z.f_mean_dim([-1].as_slice(), true, Kind::Float)?)?;
        let variance = centred.f_square()?.f_mean_dim([-1].as_slice(), true, Kind::Float)?;
        Ok(centred.f_div(&variance.f_add_scalar(VARIANCE_FLOOR)?.f_sqrt()?)?.f_mul_scalar(scale)?)
    }

    /// Whether experts choose among tokens.
    pub(crate) fn chooses_by_expert(&self) -> bool {
        self.gate.is_expert_choice()
    }

    /// Assigns the tokens with `logits [T, N]` to experts.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn assign(&self, logits: &Tensor) -> Result<Assignment> {
        if self.gate.is_expert_choice() { self.experts_choose(logits) } else { self.tokens_choose(logits) }
    }

    fn tokens_choose(&self, logits: &Tensor) -> Result<Assignment> {
        let (weights, experts) = self.choose(logits)?; // [T, K] each
        let counts = experts.f_one_hot(logits.size2()?.1)?.f_sum_dim_intlist([0, 1].as_slice(), false, Kind::Int64)?;
        let order = experts.f_flatten(0, -1)?.f_argsort_stable(true, 0, false)?; // [A]
        let tokens = order.f_floor_divide_scalar(self.top_k)?;
        Ok(Assignment { tokens, weights: weights.f_flatten(0, -1)?.f_index_select(0, &order)?, counts })
    }

    /// The chosen experts' weights (f32, differentiable) and indices, `[T, K]` each, best first.
    fn choose(&self, logits: &Tensor) -> Result<(Tensor, Tensor)> {
        let scores = match self.gate {
            Gate::TopkSoftmax => logits.shallow_clone(),
            Gate::SigmoidTopkRenorm => logits.f_sigmoid()?,
            _ => logits.f_softmax(-1, Kind::Float)?,
        };
        let experts = self.best(&scores.f_detach()?)?;
        let chosen = scores.f_gather(-1, &experts, false)?;
        let total = || chosen.f_sum_dim_intlist([-1].as_slice(), true, Kind::Float);
        let weights = match self.gate {
            Gate::TopkSoftmax => chosen.f_softmax(-1, Kind::Float)?,
            Gate::SoftmaxTopkRenorm => chosen.f_div(&total()?)?,
            Gate::SigmoidTopkRenorm => chosen.f_div(&total()?.f_add_scalar(UNDERFLOW)?)?,
            Gate::SoftmaxTopkSt => chosen.f_div(&total()?.f_detach()?)?,
            _ => chosen,
        };
        Ok((weights, experts))
    }

    /// Indices `[T, K]` of the best of `scores [T, N]`, by themselves or in groups.
    fn best(&self, scores: &Tensor) -> Result<Tensor> {
        let ranked = self.bias.as_ref().map_or_else(|| Ok(scores.shallow_clone()), |bias| scores.f_add(bias))?;
        if self.group_size == 1 {
            return first(&ranked, self.top_k);
        }
        let (t, g) = (ranked.size2()?.0, self.group_size);
        let groups = ranked.f_view([t, -1, g])?.f_mean_dim([-1].as_slice(), false, Kind::Float)?; // [T, N/G]
        let starts = first(&groups, self.top_k / g)?.f_mul_scalar(g)?.f_unsqueeze(-1)?; // [T, K/G, 1]
        let members = Tensor::f_arange(g, (Kind::Int64, ranked.device()))?; // [G]
        Ok(starts.f_add(&members)?.f_flatten(1, -1)?)
    }

    /// Each expert takes its `T K / N` tokens of largest probability, at least one.
    fn experts_choose(&self, logits: &Tensor) -> Result<Assignment> {
        let (t, n) = logits.size2()?;
        let room = (t * self.top_k / n).clamp(1, t);
        let p = logits.f_softmax(-1, Kind::Float)?.f_transpose(0, 1)?; // [N, T]
        let chosen = first(&p.f_detach()?, room)?.f_sort(-1, false)?.0; // [N, room]
        let (tokens, weights) = (chosen.f_flatten(0, -1)?, p.f_gather(-1, &chosen, false)?.f_flatten(0, -1)?);
        let weights = if self.gate == Gate::ExpertChoiceRenorm {
            let total = Tensor::f_zeros([t], (Kind::Float, p.device()))?.f_index_add(0, &tokens, &weights)?;
            weights.f_div(&total.f_add_scalar(UNDERFLOW)?.f_index_select(0, &tokens)?)?
        } else {
            weights
        };
        Ok(Assignment { tokens, weights, counts: Tensor::f_full([n], room, (Kind::Int64, logits.device()))? })
    }
}

/// Indices of the `count` largest along the last dimension, best first, ties by index.
fn first(scores: &Tensor, count: i64) -> Result<Tensor> {
    Ok(scores.f_sort_stable(true, -1, true)?.1.f_narrow(-1, 0, count)?)
}

impl Assignment {
    /// The expert of each assignment, `[A]`, i64.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn experts(&self) -> Result<Tensor> {
        let experts = Tensor::f_arange(self.counts.size1()?, (Kind::Int64, self.counts.device()))?;
        Ok(experts.f_repeat_interleave_self_tensor(&self.counts, 0, self.tokens.size1()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Zeros;

    impl Source for Zeros {
        fn tensor(&self, _name: &str, shape: &[i64]) -> Result<Tensor> {
            Ok(Tensor::f_zeros(shape, (Kind::Float, tch::Device::Cpu))?)
        }

        fn optional(&self, _name: &str, _shape: &[i64]) -> Result<Option<Tensor>> {
            Ok(None)
        }
    }

    fn router(gate: Gate, top_k: i64, group: i64) -> Router {
        let config = MoeConfig { num_experts: 4, experts_per_token: top_k, gate, router_group_size: group, ..MoeConfig::default() };
        Router::new(&Zeros, "mlp", 3, &config).unwrap()
    }

    #[test]
    fn scores_that_all_underflow_give_no_weight_and_no_nan() {
        let logits = Tensor::full([2, 4], -200.0, (Kind::Float, tch::Device::Cpu));
        let assigned = router(Gate::SigmoidTopkRenorm, 2, 1).assign(&logits).unwrap();
        assert_eq!(Vec::<f32>::try_from(assigned.weights).unwrap(), [0.0; 4]);
    }

    #[test]
    fn ties_go_to_the_lower_index_alone_and_in_groups() {
        let logits = Tensor::zeros([2, 4], (Kind::Float, tch::Device::Cpu));
        for gate in Gate::ALL.into_iter().filter(|gate| !gate.is_expert_choice()) {
            for group in [1, 2] {
                let counts = router(gate, 2, group).assign(&logits).unwrap().counts;
                assert_eq!(Vec::<i64>::try_from(counts).unwrap(), [2, 2, 0, 0], "{gate:?}");
            }
        }
    }

    #[test]
    fn a_group_is_chosen_by_its_mean() {
        let logits = Tensor::from_slice(&[3.0_f32, -3.0, 1.0, 0.0]).view([1, 4]);
        let counts = router(Gate::TopkSoftmax, 2, 2).assign(&logits).unwrap().counts;
        assert_eq!(Vec::<i64>::try_from(counts).unwrap(), [0, 0, 1, 1]);
    }
}
