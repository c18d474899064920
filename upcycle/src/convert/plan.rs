//! What a conversion will write: the target's configuration and, in file order, how every one of its tensors is made.

mod place;
mod target;

use std::collections::BTreeMap;

use coppice_models::Config;
use coppice_models::tensors::{TensorSpec, expected};
use safetensors::Dtype;

use self::place::{Growth, Place};
use self::target::target;

use super::error::Result;
use super::options::{Options, require};
use super::sources::Sources;
use crate::methods::{Method, Recipe, check_foreign};
use crate::routers;
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
        let source = sources.model();
        require(source.config.moe.is_none(), || {
            format!("{} is a mixture of experts already, only dense models are upcycled", source.folder.display())
        })?;
        let (opened, named) = (sources.all().len(), options.branches.len() + 1);
        require(opened == named, || format!("{opened} checkpoints are opened and the options name {named}, the model and its branches"))?;
        let config = check(&source.config, options, method)?;
        let routers = routers::rows(source, options, method, config.moe.as_ref().map_or(&[], |moe| &moe.layers))?;
        let growth = Growth { options, method, routers: &routers };
        let steps = expected(&config).into_iter().filter_map(|spec| step(sources, &growth, spec).transpose());
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
            Recipe::Made { note, .. } | Recipe::Elementwise { note, .. } => Some(note.clone()),
        };
        self.steps.iter().filter_map(|step| Some((step.header.name.clone(), words(&step.recipe)?))).collect()
    }
}

/// The configuration a dense model of `config` gets, where the options can be followed.
pub(super) fn check(config: &Config, options: &Options, method: &dyn Method) -> Result<Config> {
    options.check()?;
    method.check(config, options)?;
    check_foreign(method, options)?;
    target(config, options, method)
}

/// How one tensor of the target is made; None for an optional one the source leaves out.
fn step(sources: &Sources, growth: &Growth, spec: TensorSpec) -> Result<Option<Step>> {
    if spec.optional && sources.model().entry(&spec.name).is_none() {
        return Ok(None);
    }
    let place = Place::of(&spec.name);
    let recipe = growth.recipe(&place, &spec);
    for origin in recipe.sources() {
        let folder = || sources.all()[origin.checkpoint].folder.display();
        require(sources.entry(origin).is_some(), || format!("{} has no tensor {}, which the model has", folder(), origin.tensor))?;
    }
    let stored = sources.entry(recipe.like()).map_or(sources.model().dtype(), |entry| entry.dtype);
    let kept_in_f32 = matches!(place, Place::RouterBias(_));
    let header = TensorHeader {
        name: spec.name,
        dtype: if kept_in_f32 { Dtype::F32 } else { growth.options.dtype.unwrap_or(stored) },
        shape: spec.shape.iter().map(|&size| size as usize).collect::<Vec<usize>>(),
    };
    Ok(Some(Step { header, recipe }))
}

/// How a configuration names an element type.
pub(crate) fn torch_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        _ => "float32",
    }
}
