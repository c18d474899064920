//! One matrix of a merged MLP: shared expert, averaged parts and padding side by side.

use coppice_models::Checkpoint;
use tch::{Device, Kind, Tensor};

use super::manifest::LayerMerge;
use super::plan::Plan;
use crate::convert::{ConvertError, Result};
use crate::inspect::notes;
use crate::methods::{Projection, unit_permutation};

// D hidden, F expert width, N experts, G parts, E = N / G replicas.

/// The matrix of `layer`: `[F', D]`, down `[D, F']`, f32.
pub(super) fn matrix(source: &Checkpoint, plan: &Plan, layer: usize, projection: Projection) -> Result<Tensor> {
    let made = plan.layers[layer];
    let prefix = format!("model.layers.{layer}.mlp");
    let name = projection.name();
    let mut blocks = Vec::new();
    if made.dense > 0 {
        blocks.push(load(source, &format!("{prefix}.{name}.weight"))?);
    }
    if made.shared > 0 {
        let shared = load(source, &format!("{prefix}.shared_expert.{name}.weight"))?;
        blocks.push(scaled(&shared, projection, plan.shared_scale)?);
    }
    if made.routed > 0 {
        let parts = (0..plan.granularity).map(|part| average(source, plan, layer, part, projection));
        blocks.extend(parts.collect::<Result<Vec<_>>>()?);
    }
    blocks.extend(padding(plan, &made, projection)?);
    Ok(Tensor::f_cat(&blocks, units(projection))?)
}

/// The dimension that counts hidden units.
fn units(projection: Projection) -> i64 {
    if projection == Projection::Down { 1 } else { 0 }
}

/// Part `part` averaged over its replicas, in f64 and then f32, so that the mean of equal numbers is the number.
fn average(source: &Checkpoint, plan: &Plan, layer: usize, part: i64, projection: Projection) -> Result<Tensor> {
    let members: Vec<i64> = (part..plan.moe.num_experts).step_by(plan.granularity as usize).collect();
    let weights = weights(plan, layer, &members);
    let mut sum: Option<Tensor> = None;
    for (&expert, weight) in members.iter().zip(&weights) {
        let term = expert_matrix(source, plan, layer, expert, projection)?.f_to_kind(Kind::Double)?.f_mul_scalar(*weight)?;
        sum = Some(sum.map_or(Ok(term.shallow_clone()), |sum| sum.f_add(&term))?);
    }
    let sum = sum.ok_or_else(|| ConvertError::Options(format!("layer {layer} has no expert for part {part}")))?;
    let mean = sum.f_div_scalar(weights.iter().sum::<f64>())?;
    Ok(scaled(&mean, projection, plan.scale)?.f_to_kind(Kind::Float)?)
}

/// How much each member counts: by its load, all alike where there is none.
fn weights(plan: &Plan, layer: usize, members: &[i64]) -> Vec<f64> {
    let place = plan.moe.layers.iter().position(|&routed| routed == layer);
    let loads = plan.loads.as_ref().zip(place).map(|(loads, place)| &loads[place]);
    let own: Vec<f64> = members.iter().map(|&expert| loads.map_or(1.0, |loads| loads[expert as usize])).collect();
    if own.iter().sum::<f64>() > 0.0 { own } else { vec![1.0; members.len()] }
}

/// An expert's matrix with its hidden units in the order of the dense MLP, f32.
fn expert_matrix(source: &Checkpoint, plan: &Plan, layer: usize, expert: i64, projection: Projection) -> Result<Tensor> {
    let stored = load(source, &format!("model.layers.{layer}.mlp.experts.{expert}.{}.weight", projection.name()))?;
    if !notes::is_permuted(&plan.moe) {
        return Ok(stored);
    }
    let order = unit_permutation(notes::seed(&plan.moe), layer, expert as usize, plan.moe.expert_intermediate_size);
    let back = Tensor::f_from_slice(&order)?.f_argsort(0, false)?;
    Ok(stored.f_index_select(units(projection), &back)?)
}

/// `x` times `factor` on a down projection; other matrices stay, since `silu(s x)` is not `s silu(x)`.
fn scaled(x: &Tensor, projection: Projection, factor: f64) -> Result<Tensor> {
    if projection != Projection::Down || factor == 1.0 {
        return Ok(x.shallow_clone());
    }
    Ok(x.f_mul_scalar(factor)?)
}

/// Zero units up to the width of the widest layer.
fn padding(plan: &Plan, made: &LayerMerge, projection: Projection) -> Result<Option<Tensor>> {
    let (hidden, zeros) = (plan.config.hidden_size, made.padding);
    let shape = if projection == Projection::Down { [hidden, zeros] } else { [zeros, hidden] };
    Ok((zeros > 0).then(|| Tensor::f_zeros(shape, (Kind::Float, Device::Cpu))).transpose()?)
}

/// A tensor in f32, its pages given back; refuses NaN and infinity.
fn load(source: &Checkpoint, name: &str) -> Result<Tensor> {
    let tensor = source.load(name, Kind::Float, Device::Cpu)?;
    if bool::try_from(tensor.f_isfinite()?.f_all()?)? {
        return Ok(tensor);
    }
    Err(ConvertError::NonFinite { path: source.folder.clone(), tensor: name.into() })
}

/// Whether a tensor is all zeros.
pub(super) fn is_zero(source: &Checkpoint, name: &str) -> Result<bool> {
    // SAFETY: the view is used up before this function returns.
    let any = bool::try_from(unsafe { source.view(name)? }.f_any()?)?;
    source.release(name)?;
    Ok(!any)
}
