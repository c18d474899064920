//! The checkpoints a conversion reads: the model, and its branches where a method mixes several.

use coppice_models::checkpoint::Entry;
use coppice_models::{Checkpoint, Config};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::error::Result;
use super::options::require;
use crate::methods::Origin;

/// Opened checkpoints of one shape, the model first.
#[derive(Debug, Clone)]
pub struct Sources<'a>(Vec<&'a Checkpoint>);

impl<'a> Sources<'a> {
    /// The model alone.
    pub fn one(model: &'a Checkpoint) -> Self {
        Self(vec![model])
    }

    /// The model and its branches.
    ///
    /// # Errors
    /// When a branch's configuration is not the model's.
    pub fn new(model: &'a Checkpoint, branches: &'a [Checkpoint]) -> Result<Self> {
        for branch in branches {
            let differs = difference(&model.config, &branch.config);
            require(differs.is_none(), || {
                let (one, other) = (model.folder.display(), branch.folder.display());
                let (key, ours, theirs) = differs.unwrap_or_default();
                format!("{other} has another shape than {one}: {key} is {theirs}, not {ours}; branches must share one configuration")
            })?;
        }
        Ok(Self(std::iter::once(model).chain(branches).collect()))
    }

    /// The model.
    pub fn model(&self) -> &'a Checkpoint {
        self.0[0]
    }

    /// The configuration all of them have.
    pub fn config(&self) -> &'a Config {
        &self.0[0].config
    }

    /// All of them, the model first.
    pub fn all(&self) -> &[&'a Checkpoint] {
        &self.0
    }

    /// The place and form of a tensor, where its file holds it.
    pub fn entry(&self, origin: &Origin) -> Option<&'a Entry> {
        self.0[origin.checkpoint].entry(&origin.tensor)
    }

    /// Its bytes in the mapping.
    ///
    /// # Errors
    /// When there is no such tensor.
    pub fn bytes(&self, origin: &Origin) -> Result<&'a [u8]> {
        Ok(self.0[origin.checkpoint].bytes(&origin.tensor)?)
    }

    /// An owned copy in f32; the mapped pages are given back.
    ///
    /// # Errors
    /// When there is no such tensor.
    pub fn load(&self, origin: &Origin) -> Result<Tensor> {
        Ok(self.0[origin.checkpoint].load(&origin.tensor, Kind::Float, Device::Cpu)?)
    }

    /// Gives the mapped pages of a tensor back.
    ///
    /// # Errors
    /// When there is no such tensor.
    pub fn release(&self, origin: &Origin) -> Result<()> {
        Ok(self.0[origin.checkpoint].release(&origin.tensor)?)
    }
}

/// The first setting in which two models differ, and both values; which ids begin and end a text is the model's own affair.
fn difference(model: &Config, branch: &Config) -> Option<(String, Value, Value)> {
    let keys = |config: &Config| serde_json::to_value(Config { bos_token_id: None, eos_token_ids: Vec::new(), ..config.clone() });
    let (ours, theirs) = (keys(model).ok()?, keys(branch).ok()?);
    let differs =
        |(key, value): (&String, &Value)| Some((key.clone(), value.clone(), theirs.get(key).filter(|other| *other != value)?.clone()));
    ours.as_object()?.iter().find_map(differs)
}
