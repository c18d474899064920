//! What a run tells its caller while it goes on, and how it ends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::losses::Evaluation;

/// Where a run starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resume {
    /// From the given model; a run folder that already holds a run is refused.
    Never,
    /// From the newest whole checkpoint, or from the given model where there is none; damaged checkpoints are named and skipped.
    Auto,
    /// From this checkpoint folder, which must be whole.
    From(PathBuf),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All steps are done and the model is exported.
    Finished {
        /// Folder of the trained model, in the Hugging Face layout.
        model: PathBuf,
        /// Cross entropy on held-out tokens after the last step, where there are any.
        validation: Option<Evaluation>,
    },
    /// The caller asked to stop; the state is saved.
    Interrupted {
        /// Steps done.
        step: u64,
        /// The checkpoint to resume from.
        checkpoint: PathBuf,
    },
}

/// Where a run stands after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Mean cross entropy of this step's tokens, nats.
    pub loss: f64,
    /// Learning rate of this step.
    pub lr: f64,
    /// Tokens per second since this process began the run.
    pub tokens_per_second: f64,
    /// What the remaining steps will take at that rate.
    pub remaining: Duration,
}

/// Something the caller may want to show.
#[derive(Debug)]
pub enum Event<'a> {
    /// Something about the model or the recipe that is worth knowing before the first step.
    Note {
        /// One sentence.
        text: &'a str,
    },
    /// A damaged checkpoint was passed over.
    Skipped {
        /// Its folder.
        path: &'a Path,
        /// What is wrong with it.
        reason: &'a str,
    },
    /// The run continues from a checkpoint.
    Resumed {
        /// Steps done in it.
        step: u64,
        /// Its folder.
        path: &'a Path,
    },
    /// A step was taken.
    Step(Progress),
    /// Held-out tokens were measured.
    Validated {
        /// Steps done.
        step: u64,
        /// What was found.
        evaluation: Evaluation,
    },
    /// A checkpoint was written.
    Saved {
        /// Steps done.
        step: u64,
        /// Its folder.
        path: &'a Path,
    },
}
