//! One layer of a step-0 report: the MLPs on the same input, the residual streams after it, and what the router did.

use coppice_models::MoeConfig;
use coppice_models::moe::Shared;
use coppice_models::router::{Assignment, Router};
use tch::{Kind, Tensor};

use super::report::{LayerReport, RouterReport};
use crate::convert::Result;
use crate::layerwise::Layerwise;

// T tokens, D hidden, N experts, K chosen experts.

/// Runs layer `index` of both models. A converted MLP sees the dense layer's input and its own in one batch, so that every expert
/// is fetched once.
pub(super) fn compare(dense: &mut Layerwise, upcycled: &mut Layerwise, index: usize) -> Result<LayerReport> {
    let prefix = format!("model.layers.{index}.mlp");
    let input = dense.attend(index)?; // [T, D]
    let wanted = dense.mlp(&prefix)?.forward(&input)?;
    dense.add(&wanted)?;
    dense.release_layer(index)?;
    let own = upcycled.attend(index)?;
    let (mlp_error, router) = match upcycled.checkpoint.config.clone().moe_layer(index) {
        None => {
            upcycled.add(&upcycled.mlp(&prefix)?.forward(&own)?)?;
            (None, None)
        }
        Some(moe) => {
            let tokens = own.size()[0];
            let (y, router) = routed(upcycled, &prefix, moe, &Tensor::f_cat(&[input, own], 0)?)?; // [2T, D]
            upcycled.add(&y.f_narrow(0, tokens, tokens)?)?;
            (Some(relative_error(&wanted, &y.f_narrow(0, 0, tokens)?)?), Some(router))
        }
    };
    upcycled.release_layer(index)?;
    Ok(LayerReport { layer: index, mlp_error, residual_error: relative_error(&dense.stream()?, &upcycled.stream()?)?, router })
}

/// The routed MLP on two batches `x [2T, D]`, one expert at a time, and the router's statistics over the second. Each batch is routed
/// by itself: where experts choose, tokens compete with those of their own batch.
fn routed(side: &Layerwise, prefix: &str, moe: &MoeConfig, x: &Tensor) -> Result<(Tensor, RouterReport)> {
    let (tokens, hidden) = (x.size()[0] / 2, x.size()[1]);
    let router = Router::new(&side.stored(), prefix, hidden, moe)?;
    let logits = router.logits(x)?; // [2T, N]
    let halves = [0, 1].map(|half| router.assign(&logits.f_narrow(0, half * tokens, tokens)?));
    let [first, second] = halves;
    let (first, second) = (Queue::new(&first?, 0)?, Queue::new(&second?, tokens)?);
    let mut y = shared(side, prefix, moe, x)?;
    for expert in 0..moe.num_experts {
        let (rows, weights) = (both(&first, &second, expert, |q| &q.tokens)?, both(&first, &second, expert, |q| &q.weights)?);
        if rows.numel() == 0 {
            continue;
        }
        let prefix = format!("{prefix}.experts.{expert}");
        let part = side.mlp(&prefix)?.forward(&x.f_index_select(0, &rows)?)?;
        y = y.f_index_add(0, &rows, &part.f_mul(&weights.f_unsqueeze(1)?)?)?;
        side.release_mlp(&prefix)?;
    }
    Ok((y, statistics(&logits.f_narrow(0, tokens, tokens)?, &second.counts)?))
}

/// What the expert of all tokens adds to `x [2T, D]`; zeros where there is none.
fn shared(side: &Layerwise, prefix: &str, moe: &MoeConfig, x: &Tensor) -> Result<Tensor> {
    let shared = Shared::new(&side.stored(), prefix, x.size()[1], moe)?;
    Ok(shared.map_or_else(|| Ok(x.f_zeros_like()?), |shared| shared.forward(x))?)
}

/// The tokens of every expert, of one of the two batches.
struct Queue {
    tokens: Tensor,
    weights: Tensor,
    counts: Vec<i64>,
}

impl Queue {
    fn new(assignment: &Assignment, offset: i64) -> Result<Self> {
        let tokens = assignment.tokens.f_add_scalar(offset)?;
        Ok(Self { tokens, weights: assignment.weights.shallow_clone(), counts: Vec::try_from(&assignment.counts)? })
    }

    /// The part of `values [A]` that belongs to `expert`.
    fn of(&self, expert: i64, values: &Tensor) -> Result<Tensor> {
        let start = self.counts[..expert as usize].iter().sum();
        Ok(values.f_narrow(0, start, self.counts[expert as usize])?)
    }
}

fn both(first: &Queue, second: &Queue, expert: i64, values: impl Fn(&Queue) -> &Tensor) -> Result<Tensor> {
    Ok(Tensor::f_cat(&[first.of(expert, values(first))?, second.of(expert, values(second))?], 0)?)
}

/// Load and entropy from `logits [T, N]` and the assignments of each expert.
fn statistics(logits: &Tensor, counts: &[i64]) -> Result<RouterReport> {
    let total: i64 = counts.iter().sum();
    let load = counts.iter().map(|&count| count as f64 / total as f64).collect();
    let logprobs = logits.f_log_softmax(-1, Kind::Double)?;
    let entropies = logprobs.f_exp()?.f_mul(&logprobs)?.f_sum_dim_intlist([-1].as_slice(), false, Kind::Double)?.f_neg()?;
    Ok(RouterReport { load, entropy: f64::try_from(entropies.f_mean(Kind::Double)?)? })
}

/// `‖found − wanted‖ / ‖wanted‖` over all elements, in f64; 0 where both are zero.
fn relative_error(wanted: &Tensor, found: &Tensor) -> Result<f64> {
    let (wanted, found) = (wanted.f_to_kind(Kind::Double)?, found.f_to_kind(Kind::Double)?);
    let apart = f64::try_from(found.f_sub(&wanted)?.f_norm()?)?;
    Ok(if apart == 0.0 { 0.0 } else { apart / f64::try_from(wanted.f_norm()?)? })
}
