//! What a merge will write: the dense configuration, how wide each layer is and why, and the tensors in file order.

use coppice_models::tensors::{TensorSpec, expected};
use coppice_models::{Checkpoint, Config, MoeConfig};
use safetensors::Dtype;
use serde_json::Value;

use super::layer::is_zero;
use super::manifest::LayerMerge;
use super::words::notes;
use super::{Options, Weights};
use crate::convert::Result;
use crate::convert::options::require;
use crate::convert::plan::torch_name;
use crate::inspect::{notes as facts, routed};
use crate::methods::Projection;
use crate::writer::TensorHeader;

/// All that is decided before the first byte is written.
pub(super) struct Plan {
    /// The configuration of the result.
    pub(super) config: Config,
    /// The experts that are merged.
    pub(super) moe: MoeConfig,
    /// `G`, the parts of a replica.
    pub(super) granularity: i64,
    /// Factor on the averaged down projections.
    pub(super) scale: f64,
    /// Factor on the down projection of the shared expert: its gate, where that is the constant 1/2.
    pub(super) shared_scale: f64,
    /// How much each expert counts, `[routed layers][N]`; none = all alike.
    pub(super) loads: Option<Vec<Vec<f64>>>,
    /// Every layer, first to last.
    pub(super) layers: Vec<LayerMerge>,
    /// The tensors, in file order.
    pub(super) tensors: Vec<Merged>,
    /// What the reader should know.
    pub(super) notes: Vec<String>,
}

/// One tensor to write.
pub(super) struct Merged {
    /// Name, element type and shape.
    pub(super) header: TensorHeader,
    /// Layer and matrix of an MLP; none for a tensor that is copied.
    pub(super) mlp: Option<(usize, Projection)>,
}

impl Plan {
    /// Holds the options against the source.
    pub(super) fn new(source: &Checkpoint, options: &Options) -> Result<Self> {
        let moe = routed(&source.config)?.clone();
        let granularity = granularity(&moe)?;
        let loads = loads(&moe, &options.weights)?;
        let shared_scale = shared_scale(source, &moe)?;
        let (layers, width) = layers(source, &moe, granularity)?;
        let config = Config { moe: None, intermediate_size: width, ..source.config.clone() };
        config.check()?;
        let tensors = expected(&config).into_iter().filter_map(|spec| merged(source, options, spec)).collect();
        let notes = notes(&moe, &layers, loads.is_some());
        Ok(Self { config, granularity, scale: scale(&moe, granularity), shared_scale, loads, layers, tensors, notes, moe })
    }

    /// Bytes of all tensors.
    pub(super) fn bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.header.bytes() as u64).sum()
    }

    /// Number of weights.
    pub(super) fn parameters(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.header.shape.iter().product::<usize>() as u64).sum()
    }

    /// The `config.json` of the result.
    pub(super) fn config_json(&self) -> Value {
        self.config.to_json(torch_name(self.tensors.first().map_or(Dtype::F32, |tensor| tensor.header.dtype)))
    }
}

/// `G`, if the experts are whole replicas.
fn granularity(moe: &MoeConfig) -> Result<i64> {
    let (parts, n) = (facts::granularity(moe) as i64, moe.num_experts);
    require(n % parts == 0, || format!("{n} experts are no whole replicas of an MLP in {parts} parts (granularity in config.json)"))?;
    Ok(parts)
}

/// What the chosen experts of one part weigh together: the sum of a token's weights, spread over the parts. Where weights do not sum to 1
/// the sum is what a uniform router gives `K` of `N` experts.
fn scale(moe: &MoeConfig, parts: i64) -> f64 {
    let sum = if moe.gate.sums_to_one() { 1.0 } else { moe.experts_per_token as f64 / moe.num_experts as f64 };
    sum / parts as f64
}

fn loads(moe: &MoeConfig, weights: &Weights) -> Result<Option<Vec<Vec<f64>>>> {
    let Weights::Load(loads) = weights else { return Ok(None) };
    let (layers, n) = (moe.layers.len(), moe.num_experts as usize);
    let fits = loads.len() == layers && loads.iter().all(|layer| layer.len() == n);
    require(fits, || format!("the loads are not those of {layers} layers with {n} experts each"))?;
    let sound = loads.iter().flatten().all(|load| load.is_finite() && *load >= 0.0);
    require(sound, || "a load is negative or not finite".into())?;
    Ok(Some(loads.clone()))
}

/// The constant the shared expert is multiplied by: 1, or 1/2 where its gate is all zeros.
fn shared_scale(source: &Checkpoint, moe: &MoeConfig) -> Result<f64> {
    if !moe.shared_expert.as_ref().is_some_and(|shared| shared.gated) {
        return Ok(1.0);
    }
    for layer in &moe.layers {
        let zero = is_zero(source, &format!("model.layers.{layer}.mlp.shared_expert_gate.weight"))?;
        require(zero, || format!("layer {layer}: the shared expert's gate depends on the token, no dense MLP computes the same"))?;
    }
    Ok(0.5)
}

/// What each layer's MLP is made of, and the widest one's width.
fn layers(source: &Checkpoint, moe: &MoeConfig, parts: i64) -> Result<(Vec<LayerMerge>, i64)> {
    let count = source.config.num_hidden_layers;
    let mut layers = (0..count).map(|layer| make_up(source, moe, parts, layer)).collect::<Result<Vec<_>>>()?;
    let width = layers.iter().map(|layer| layer.dense + layer.shared + layer.routed).max().unwrap_or(0);
    for layer in &mut layers {
        layer.padding = width - layer.dense - layer.shared - layer.routed;
    }
    Ok((layers, width))
}

fn make_up(source: &Checkpoint, moe: &MoeConfig, parts: i64, layer: usize) -> Result<LayerMerge> {
    let made = LayerMerge { layer, ..LayerMerge::default() };
    if !moe.layers.contains(&layer) {
        return Ok(LayerMerge { dense: source.config.intermediate_size, ..made });
    }
    let routed = parts * moe.expert_intermediate_size;
    let Some(shared) = &moe.shared_expert else { return Ok(LayerMerge { routed, ..made }) };
    let mut downs = (0..moe.num_experts).map(|expert| format!("model.layers.{layer}.mlp.experts.{expert}.down_proj.weight"));
    let silent = downs.try_fold(true, |silent, name| Ok::<_, crate::convert::ConvertError>(silent && is_zero(source, &name)?))?;
    Ok(LayerMerge { shared: shared.intermediate_size, routed: if silent { 0 } else { routed }, ..made })
}

/// One tensor of the result; none for an optional one the source leaves out.
fn merged(source: &Checkpoint, options: &Options, spec: TensorSpec) -> Option<Merged> {
    let mlp = mlp_of(&spec.name);
    let stored = source.entry(&spec.name).or_else(|| {
        let (layer, projection) = mlp?;
        source.entry(&format!("model.layers.{layer}.mlp.experts.0.{}.weight", projection.name()))
    });
    if stored.is_none() && spec.optional {
        return None;
    }
    let dtype = options.dtype.or(stored.map(|entry| entry.dtype)).unwrap_or_else(|| source.dtype());
    let shape = spec.shape.iter().map(|&size| size as usize).collect();
    Some(Merged { header: TensorHeader { name: spec.name, dtype, shape }, mlp })
}

/// Layer and matrix, where the name is that of a dense MLP.
fn mlp_of(name: &str) -> Option<(usize, Projection)> {
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let matrix = rest.strip_prefix("mlp.")?.strip_suffix(".weight")?;
    Some((layer.parse().ok()?, Projection::ALL.into_iter().find(|projection| projection.name() == matrix)?))
}
