//! Batches made by a thread of their own while the step before is computed.

use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};

use super::{Batch, Batches};
use crate::train::error::{Result, TrainError};

/// Steps whose batches wait ready.
const READY: usize = 2;

/// The batches of successive steps, in their order.
#[derive(Debug)]
pub(in crate::train) struct Prefetch(Receiver<Result<Vec<Batch>>>);

impl Prefetch {
    /// Begins to cut the batches of `steps`; the thread ends with the last of them, or when nobody waits for them any more.
    pub(in crate::train) fn start(mut batches: Batches, steps: Range<u64>, share: Range<usize>) -> Result<Self> {
        let (sender, receiver) = sync_channel(READY);
        let work = move || steps.map(|step| batches.step(step, &share)).try_for_each(|found| sender.send(found).map_err(drop));
        let thread = std::thread::Builder::new().name("batches".into());
        thread.spawn(work).map_err(|error| TrainError::Tokens(format!("no thread could be started to cut batches: {error}")))?;
        Ok(Self(receiver))
    }

    /// The micro-batches of the next step.
    pub(in crate::train) fn next(&self) -> Result<Vec<Batch>> {
        self.0.recv().map_err(|_| TrainError::Tokens("the thread that cuts batches has ended".into()))?
    }
}
