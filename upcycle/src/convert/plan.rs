//! What a conversion will write: the target's configuration and, in file order, how every one of its tensors is made.

use std::collections::BTreeMap;

use coppice_models::tensors::{TensorSpec, expected};
use coppice_models::{Config, MoeConfig};
use safetensors::Dtype;

use super::error::Result;
use super::options::{Options, require};
use super::sources::Sources;
use crate::methods::{Method, Origin, Part, Projection, Recipe, Target};
use crate::writer::TensorHeader;

/// All that is decided before the first byte is written.
pub(crate) struct Plan {
    /// The configuration of the result.
    pub(crate) config: Config,
    /// Its tensors.
    pub(crate) steps: Vec<Step>,
}

/// One tensor to write, and how it is made.
pub(crate) struct Step {
    /// Name, element type and shape in the output.
    pub(crate) header: TensorHeader,
    /// Where its values come from.
    pub(crate) recipe: Recipe,
}

impl Plan {
    /// Holds the options against the source.
    pub(crate) fn new(sources: &Sources, options: &Options, method: &dyn Method) -> Result<Self> {
        options.check()?;
        let source = sources.model();
        require(source.config.moe.is_none(), || {
            format!("{} is a mixture of experts already, only dense models are upcycled", source.folder.display())
        })?;
        method.check(&source.config, options)?;
        let config = target(&source.config, options, method)?;
        let steps = expected(&config).into_iter().filter_map(|spec| step(sources, options, method, spec).transpose());
        Ok(Self { steps: steps.collect::<Result<_>>()?, config })
    }

    /// Bytes of all tensors.
    pub(crate) fn bytes(&self) -> u64 {
        self.steps.iter().map(|step| step.header.bytes() as u64).sum()
    }

    /// Number of weights.
    pub(crate) fn parameters(&self) -> u64 {
        self.steps.iter().map(|step| step.header.shape.iter().product::<usize>() as u64).sum()
    }

    /// What was made of no source tensor, or of one by computation, in words.
    pub(crate) fn made(&self) -> BTreeMap<String, String> {
        let words = |recipe: &Recipe| match recipe {
            Recipe::Copy(_) => None,
            Recipe::Made { note, .. } => Some(note.clone()),
        };
        self.steps.iter().filter_map(|step| Some((step.header.name.clone(), words(&step.recipe)?))).collect()
    }
}

/// The source's configuration with routed experts.
fn target(source: &Config, options: &Options, method: &dyn Method) -> Result<Config> {
    let moe = MoeConfig {
        num_experts: options.experts,
        experts_per_token: options.top_k,
        gate: options.gate,
        layers: options.layers.resolve(source.num_hidden_layers)?,
        expert_intermediate_size: method.expert_width(source, options),
        ..MoeConfig::default()
    };
    let config = Config { moe: Some(moe), ..source.clone() };
    config.check()?;
    Ok(config)
}

/// How one tensor of the target is made; None for an optional one the source leaves out.
fn step(sources: &Sources, options: &Options, method: &dyn Method, spec: TensorSpec) -> Result<Option<Step>> {
    if spec.optional && sources.model().entry(&spec.name).is_none() {
        return Ok(None);
    }
    let recipe = match routed(&spec.name) {
        Some((layer, part)) => method.recipe(&Target { layer, name: spec.name.clone(), part, shape: spec.shape.clone() }, options),
        None => Recipe::Copy(Origin::first(spec.name.clone())),
    };
    let stored = sources.entry(recipe.like()).map_or(sources.model().dtype(), |entry| entry.dtype);
    let header = TensorHeader {
        name: spec.name,
        dtype: options.dtype.unwrap_or(stored),
        shape: spec.shape.iter().map(|&size| size as usize).collect::<Vec<usize>>(),
    };
    Ok(Some(Step { header, recipe }))
}

/// Layer and part, where the name is that of a router or an expert.
fn routed(name: &str) -> Option<(usize, Part)> {
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let layer = layer.parse().ok()?;
    if rest == "mlp.gate.weight" {
        return Some((layer, Part::Router));
    }
    let (expert, matrix) = rest.strip_prefix("mlp.experts.")?.split_once('.')?;
    let projection = Projection::ALL.into_iter().find(|projection| matrix.strip_suffix(".weight") == Some(projection.name()))?;
    Some((layer, Part::Expert(expert.parse().ok()?, projection)))
}

/// How a configuration names an element type.
pub(crate) fn torch_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        _ => "float32",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_routed_parts_are_told_from_dense_ones() {
        assert_eq!(routed("model.layers.3.mlp.gate.weight"), Some((3, Part::Router)));
        assert_eq!(routed("model.layers.12.mlp.experts.7.down_proj.weight"), Some((12, Part::Expert(7, Projection::Down))));
        assert_eq!(routed("model.layers.3.mlp.gate_proj.weight"), None);
        assert_eq!(routed("lm_head.weight"), None);
    }
}
