//! What a run leaves on disk: checkpoints, the exported model, and what is saved when another rank is lost.

use std::path::PathBuf;

use super::Trainer;
use super::watching::Records;
use crate::train::checkpoint::{self, State};
use crate::train::error::{Result, TrainError};
use crate::train::export::export;
use crate::train::losses::Evaluation;
use crate::train::progress::{Event, Outcome};

impl Trainer {
    /// Saves the run after `step` steps; the leading rank writes what all of them hold.
    pub(super) fn save(&self, step: u64, records: &Records, progress: &mut dyn FnMut(&Event)) -> Result<PathBuf> {
        records.sync()?;
        let (parameters, kept) = (self.model.parameters(), self.optimizer.state());
        let (parameters, kept) = (self.ranks.whole(parameters.iter())?, self.ranks.whole(kept)?);
        let path = checkpoint::path_of(&self.checkpoints(), step);
        if self.ranks.leads() {
            checkpoint::save(&path, &self.model.config, &parameters, &kept, &self.state(step)?)?;
            checkpoint::prune(&self.checkpoints(), &self.config.checkpoints)?;
        }
        progress(&Event::Saved { step, path: &path });
        Ok(path)
    }

    /// Exports the model; a run that had no step left to do measures the held-out tokens again for its outcome.
    pub(super) fn finish(&self, first: u64, validation: Option<Evaluation>) -> Result<Outcome> {
        let again = self.valid.as_ref().filter(|_| first == self.config.steps);
        let validation = again.map(|stream| self.evaluate(stream)).transpose()?.or(validation);
        let (parameters, folder) = (self.model.parameters(), self.folder.join("model"));
        let parameters = self.ranks.whole(parameters.iter())?;
        if self.ranks.leads() {
            export(&self.model.config, &parameters, &folder, self.companions.as_deref())?;
        }
        Ok(Outcome::Finished { model: folder, validation })
    }

    /// Saves the last whole step when a rank was lost in the one after it: all ranks hold the same weights then, unless experts are spread.
    pub(super) fn rescue(&self, done: u64, records: &Records, error: TrainError) -> TrainError {
        if error.is_loss_of_a_rank() && self.ranks.leads() && !self.ranks.spreads() {
            return self.save(done, records, &mut |_| {}).map_or_else(|failed| failed, |_| error);
        }
        error
    }

    /// What to say when a rank was lost: where the run goes on from.
    pub(super) fn without_a_rank(&self, error: TrainError) -> TrainError {
        let reason = error.to_string();
        let newest = checkpoint::list(&self.checkpoints()).map(|all| all.into_iter().next_back());
        newest.map_or_else(|failed| failed, |checkpoint| TrainError::Lost { reason, checkpoint })
    }

    /// The state after `step` steps.
    pub(super) fn state(&self, step: u64) -> Result<State> {
        let state = State::new(step, &self.config, self.blocks, &self.tokens_hash)?;
        let (balance_coefficients, updates_before) = (self.coefficients.state(&self.config.losses), self.updates_before);
        Ok(State { balance_coefficients, updates_before, ..state })
    }

    pub(super) fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }
}
