//! What a conversion will write: the target's configuration and, in file order, how every one of its tensors is made.

mod place;
mod target;

use std::collections::BTreeMap;

use coppice_models::tensors::{TensorSpec, expected, is_buffer};
use coppice_models::{Checkpoint, Config};
use safetensors::Dtype;

use self::place::{Growth, Place};
use self::target::target;

use super::error::Result;
use super::manifest::Account;
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
        options.check()?;
        let source = sources.model();
        require(source.config.moe.is_none(), || {
            format!("{} is a mixture of experts already, only dense models are upcycled", source.folder.display())
        })?;
        let (opened, named) = (sources.all().len(), options.branches.len() + 1);
        require(opened == named, || format!("{opened} checkpoints are opened and the options name {named}, the model and its branches"))?;
        method.check(&source.config, options)?;
        check_foreign(method, options)?;
        let config = target(&source.config, options, method)?;
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

    /// The steps of each file, none above `largest` bytes unless it holds one tensor.
    pub(crate) fn shards(&self, largest: u64) -> Vec<&[Step]> {
        let size = |step: &Step| step.header.bytes() as u64;
        let mut room = self.steps.first().map_or(0, |first| largest.saturating_sub(size(first)));
        self.steps
            .chunk_by(|_, next| {
                let fits = size(next) <= room;
                room = if fits { room } else { largest }.saturating_sub(size(next));
                fits
            })
            .collect()
    }

    /// What became of every source tensor.
    pub(crate) fn accounts(&self, source: &Checkpoint) -> BTreeMap<String, Account> {
        let mut accounts: BTreeMap<String, Account> = source.names().map(|name| (name.to_owned(), Account::unused(name))).collect();
        for step in &self.steps {
            for source in step.recipe.sources().iter().filter(|source| source.checkpoint == 0) {
                if let Some(account) = accounts.get_mut(&source.tensor) {
                    account.add(&source.tensor, &step.header.name);
                }
            }
        }
        accounts
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

impl Account {
    fn unused(name: &str) -> Self {
        Self::Unused(if is_buffer(name) { "a buffer, recomputed from the configuration" } else { "the method does not read it" }.into())
    }

    fn add(&mut self, source: &str, target: &str) {
        match self {
            Self::CopiedTo(targets) => targets.push(target.to_owned()),
            _ if source == target => *self = Self::Kept,
            _ => *self = Self::CopiedTo(vec![target.to_owned()]),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_hold_at_most_their_size_or_one_tensor() {
        let step = |size: usize| Step {
            header: TensorHeader { name: String::new(), dtype: Dtype::F16, shape: vec![size / 2] },
            recipe: Recipe::Copy(crate::methods::Origin::first("")),
        };
        let plan = |sizes: &[usize]| Plan { config: Config::from_json(&tiny()).unwrap(), steps: sizes.iter().map(|&s| step(s)).collect() };
        let sizes = |sizes: &[usize]| -> Vec<Vec<usize>> {
            plan(sizes).shards(10).iter().map(|shard| shard.iter().map(|step| step.header.bytes()).collect()).collect()
        };
        assert_eq!(sizes(&[4, 4, 4]), [vec![4, 4], vec![4]]);
        assert_eq!(sizes(&[30, 4, 6, 2]), [vec![30], vec![4, 6], vec![2]]);
        assert_eq!(sizes(&[10]), [vec![10]]);
        assert_eq!(sizes(&[6, 6, 4, 12, 10]), [vec![6], vec![6, 4], vec![12], vec![10]]);
    }

    fn tiny() -> serde_json::Value {
        serde_json::json!({"model_type": "stablelm", "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8,
            "num_hidden_layers": 1, "num_attention_heads": 1})
    }
}
