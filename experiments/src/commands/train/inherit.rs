//! The optimizer state a recipe starts from.

use anyhow::{Result, bail};
use coppice_upcycle::train::start::Inheritance;

use super::{ModelSource, Source};

impl ModelSource {
    /// Opens the state that `optimizer_state` names, where it names one.
    pub(super) fn inheritance(&self, source: &Source) -> Result<Option<Inheritance>> {
        let Some(path) = &self.optimizer_state else {
            return if self.expert_moments.is_none() {
                Ok(None)
            } else {
                bail!("[model] expert_moments needs optimizer_state to take them from")
            };
        };
        let Source::Stored(checkpoint) = source else {
            bail!("[model] optimizer_state goes with a checkpoint, and config makes random weights")
        };
        if self.expert_moments.is_some() && checkpoint.config.moe.is_none() {
            bail!("[model] expert_moments is for a model with experts, and {} is dense", checkpoint.folder.display());
        }
        Ok(Some(Inheritance::open(path, checkpoint, self.expert_moments.unwrap_or_default())?))
    }
}
