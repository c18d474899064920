//! One layer of a step-0 report: the MLPs on the same input, the residual streams after it, and what the router did.

use coppice_models::MoeConfig;
use coppice_models::moe::choose;
use tch::{Kind, Tensor};

use super::report::{LayerReport, RouterReport};
use super::side::Side;
use crate::convert::Result;

// T tokens, D hidden, N experts, K chosen experts.

/// Runs layer `index` of both models. A converted MLP sees the dense layer's input and its own in one batch, so that every expert
/// is fetched once.
pub(super) fn compare(dense: &mut Side, upcycled: &mut Side, index: usize) -> Result<LayerReport> {
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

/// The routed MLP on `x [2T, D]`, one expert at a time, and the router's statistics over the second half.
fn routed(side: &Side, prefix: &str, moe: &MoeConfig, x: &Tensor) -> Result<(Tensor, RouterReport)> {
    let logits = x.f_linear(&side.tensor(&format!("{prefix}.gate.weight"))?, None::<&Tensor>)?; // [2T, N]
    let (weights, chosen) = choose(&logits, moe.gate, moe.experts_per_token)?; // [2T, K] each
    let mut y = x.f_zeros_like()?;
    for expert in 0..moe.num_experts {
        let here = chosen.f_eq(expert)?; // [2T, K]
        let tokens = here.f_any_dim(1, false)?.f_nonzero()?.f_squeeze_dim(1)?;
        if tokens.numel() == 0 {
            continue;
        }
        let prefix = format!("{prefix}.experts.{expert}");
        let weight = weights.f_mul(&here)?.f_sum_dim_intlist([1].as_slice(), true, Kind::Float)?.f_index_select(0, &tokens)?;
        let part = side.mlp(&prefix)?.forward(&x.f_index_select(0, &tokens)?)?;
        y = y.f_index_add(0, &tokens, &part.f_mul(&weight)?)?;
        side.release_mlp(&prefix)?;
    }
    let half = x.size()[0] / 2;
    Ok((y, statistics(&logits.f_narrow(0, half, half)?, &chosen.f_narrow(0, half, half)?, moe)?))
}

/// Load and entropy from `logits [T, N]` and `chosen [T, K]`.
fn statistics(logits: &Tensor, chosen: &Tensor, moe: &MoeConfig) -> Result<RouterReport> {
    let counts = chosen.f_one_hot(moe.num_experts)?.f_sum_dim_intlist([0, 1].as_slice(), false, Kind::Double)?; // [N]
    let load = Vec::<f64>::try_from(counts.f_div_scalar(chosen.numel() as f64)?)?;
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
