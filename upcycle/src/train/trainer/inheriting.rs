//! Starting from the optimizer state of another run.

use super::Trainer;
use crate::train::error::Result;
use crate::train::progress::Event;
use crate::train::start::Inheritance;

impl Trainer {
    /// Starts from the optimizer state of another run, unless a checkpoint of this one is resumed.
    #[must_use]
    pub fn with_inheritance(self, inheritance: Option<Inheritance>) -> Self {
        Self { inheritance, ..self }
    }

    /// Takes over what another run kept, where there is such a one, and says so.
    pub(super) fn inherit(&mut self, progress: &mut dyn FnMut(&Event)) -> Result<()> {
        let Some(inheritance) = &self.inheritance else { return Ok(()) };
        inheritance.hand_over(&mut self.optimizer)?;
        self.updates_before = inheritance.step();
        progress(&Event::Note { text: &inheritance.note() });
        Ok(())
    }
}
