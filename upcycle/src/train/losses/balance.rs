//! Load balance of one layer's router, `N * sum_i f_i P_i`: `f_i` the share of the assignments that expert `i` got, `P_i` its mean
//! probability (Switch Transformer, arXiv 2101.03961, eq. 4 to 6).
//!
//! In the normalisation of Megatron-Core: 1 where loads or probabilities are even, its minimum as long as more probable experts get more
//! tokens, and `N` where one expert gets everything, whatever the number `K` of chosen experts. Coefficients do not carry over to
//! normalisations whose minimum is `K`. Counts carry no gradient; what capacity drops is counted all the same, since it was chosen.

use coppice_models::config::Gate;
use coppice_models::moe::Routing;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::train::error::Result;

// T tokens, S tokens of a sequence, B sequences, N experts.

/// Over which tokens loads must be even.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BalanceLevel {
    /// Those of a micro-batch.
    #[default]
    MicroBatch,
    /// Those of each sequence: the strictest.
    Sequence,
    /// Those of the step's micro-batches so far: experts may specialise by text (arXiv 2501.11873, with gradient accumulation).
    GlobalBatch,
}

/// Probabilities `[T, N]` that sum to 1 per token, of router logits `[T, N]`: their softmax, or for a sigmoid gate the scores divided by
/// their sum (DeepSeek-V3, arXiv 2412.19437, eq. 19).
///
/// # Errors
/// When libtorch fails.
pub fn probabilities(logits: &Tensor, gate: Gate) -> Result<Tensor> {
    if gate != Gate::SigmoidTopkRenorm {
        return Ok(logits.f_softmax(-1, Kind::Float)?);
    }
    let scores = logits.f_sigmoid()?;
    Ok(scores.f_div(&scores.f_sum_dim_intlist([-1].as_slice(), true, Kind::Float)?)?)
}

/// Balance loss over the tokens of one micro-batch: a scalar, 1 at best, `N` at worst.
///
/// # Errors
/// When libtorch fails.
pub fn micro_batch(routing: &Routing, gate: Gate) -> Result<Tensor> {
    global_batch(routing, gate, &routing.counts)
}

/// Balance loss with the loads `seen [N]` of the step's micro-batches so far, this one's among them, and the probabilities of this
/// micro-batch: a scalar, 1 at best, `N` at worst (arXiv 2501.11873, with gradient accumulation). With one micro-batch a step it is
/// [`micro_batch`].
///
/// # Errors
/// When libtorch fails.
pub fn global_batch(routing: &Routing, gate: Gate, seen: &Tensor) -> Result<Tensor> {
    let mean = probabilities(&routing.logits, gate)?.f_mean_dim([0].as_slice(), false, Kind::Float)?; // [N]
    product(seen, &mean)
}

/// Balance loss of each sequence of `length` tokens, their mean: a scalar, 1 at best, `N` at worst (DeepSeek-V3, arXiv 2412.19437, eq. 17).
///
/// # Errors
/// When `length` does not divide the number of tokens.
pub fn sequence(routing: &Routing, gate: Gate, length: i64) -> Result<Tensor> {
    let experts = routing.counts.size1()?;
    let p = probabilities(&routing.logits, gate)?.f_view([-1, length, experts])?; // [B, S, N]
    let mean = p.f_mean_dim([1].as_slice(), false, Kind::Float)?; // [B, N]
    let each = product(&counts_by_sequence(routing, mean.size2()?.0, length)?, &mean)?; // [B]
    Ok(each.f_mean(Kind::Float)?)
}

/// Assignments of each expert in each sequence, `[B, N]`.
fn counts_by_sequence(routing: &Routing, sequences: i64, length: i64) -> Result<Tensor> {
    let (experts, on) = (routing.counts.size1()?, (Kind::Int64, routing.counts.device()));
    let chosen = Tensor::f_arange(experts, on)?.f_repeat_interleave_self_tensor(&routing.counts, 0, routing.tokens.size1()?)?; // [A]
    let cells = routing.tokens.f_floor_divide_scalar(length)?.f_mul_scalar(experts)?.f_add(&chosen)?; // [A]
    let counts = Tensor::f_zeros([sequences * experts], on)?.f_index_add(0, &cells, &Tensor::f_ones_like(&cells)?)?;
    Ok(counts.f_view([sequences, experts])?)
}

/// `N * sum_i f_i P_i` of `counts [.., N]` and mean probabilities `[.., N]`, `[..]`.
fn product(counts: &Tensor, probabilities: &Tensor) -> Result<Tensor> {
    let counts = counts.f_to_kind(Kind::Float)?;
    let share = counts.f_div(&counts.f_sum_dim_intlist([-1].as_slice(), true, Kind::Float)?)?;
    let sum = share.f_mul(probabilities)?.f_sum_dim_intlist([-1].as_slice(), false, Kind::Float)?;
    Ok(sum.f_mul_scalar(*counts.size().last().unwrap_or(&1) as f64)?)
}
