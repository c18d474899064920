//! Where a run starts: its folder, and the checkpoint it goes on from.

use std::path::{Path, PathBuf};

use super::Trainer;
use super::watching::metrics_path;
use crate::train::checkpoint::{self, State};
use crate::train::error::{Result, TrainError};
use crate::train::progress::{Event, Resume};

impl Trainer {
    /// Readies the run folder and returns how many steps are done.
    pub(super) fn start(&mut self, resume: Resume, progress: &mut dyn FnMut(&Event)) -> Result<u64> {
        let path = self.chosen(resume, progress)?;
        let found = path.map(|path| Ok::<_, TrainError>((checkpoint::verify(&path)?, path))).transpose()?;
        if found.is_none() {
            self.inherit(progress)?;
            self.ranks.agree(self.optimizer.parameters())?;
        }
        let Some((state, path)) = found else { return Ok(0) };
        self.same_run(&path, &state, progress)?;
        checkpoint::restore(&path, &state, &self.model, &mut self.optimizer)?;
        self.updates_before = state.updates_before;
        self.coefficients.restore(&path, &state.balance_coefficients, &self.config.losses)?;
        self.ranks.agree(self.optimizer.parameters())?;
        progress(&Event::Resumed { step: state.step, path: &path });
        Ok(state.step)
    }

    /// The checkpoint to start from; all ranks take the one that the leading rank chooses.
    fn chosen(&self, resume: Resume, progress: &mut dyn FnMut(&Event)) -> Result<Option<PathBuf>> {
        let named = if let Resume::From(path) = &resume { Some(path.clone()) } else { None };
        let own = if self.ranks.leads() { self.ready(resume, progress)? } else { None };
        let step = self.ranks.lead(own.and_then(|step| i64::try_from(step).ok()).unwrap_or(-1))?;
        let newest = || u64::try_from(step).ok().map(|step| checkpoint::path_of(&self.checkpoints(), step));
        Ok(named.or_else(newest))
    }

    /// Readies the run folder; the step of the newest whole checkpoint where it is to be resumed.
    fn ready(&self, resume: Resume, progress: &mut dyn FnMut(&Event)) -> Result<Option<u64>> {
        let checkpoints = self.checkpoints();
        let found = match resume {
            Resume::Never if metrics_path(&self.folder).exists() || !checkpoint::list(&checkpoints)?.is_empty() => {
                return Err(TrainError::Occupied(self.folder.clone()));
            }
            Resume::Auto => checkpoint::newest(&checkpoints, |path, reason| progress(&Event::Skipped { path, reason }))?,
            Resume::Never | Resume::From(_) => None,
        };
        std::fs::create_dir_all(&checkpoints).map_err(|source| TrainError::io(&checkpoints, source))?;
        checkpoint::clear_unfinished(&checkpoints)?;
        Ok(found.map(|(_, state)| state.step))
    }

    /// Says in what the run of a checkpoint differs from this one, and refuses it unless changes are accepted.
    fn same_run(&self, path: &Path, found: &State, progress: &mut dyn FnMut(&Event)) -> Result<()> {
        let differences = self.state(found.step)?.differences(found).join("; ");
        if differences.is_empty() {
            return Ok(());
        }
        if !self.accepts_changes {
            return Err(TrainError::checkpoint(
                path,
                format!("was made by another run: {differences} (--accept-changes goes on all the same)"),
            ));
        }
        progress(&Event::Note { text: &format!("{} was made by another run, which goes on as this one: {differences}", path.display()) });
        Ok(())
    }
}
