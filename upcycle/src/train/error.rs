//! What can go wrong while a model is trained.

use std::path::{Path, PathBuf};

/// Anything that stops a training run.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The recipe states values that cannot be trained with.
    #[error("recipe: {0}")]
    Recipe(String),
    /// The tokens cannot be used with this model or recipe.
    #[error("tokens: {0}")]
    Tokens(String),
    /// A training checkpoint is damaged, or belongs to another run.
    #[error("{path}: {reason}")]
    Checkpoint {
        /// The checkpoint's folder, or the file in it.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The run folder already holds a run, and resuming was not asked for.
    #[error("{0} already holds a training run: resume it, or name another folder")]
    Occupied(PathBuf),
    /// The weights give a loss or gradient that is NaN or infinite; the newest ones that did not are on disk where `checkpoint` says.
    #[error("step {step}: {what} is {value}{}: {}", read(documents), last_good(.checkpoint.as_deref()))]
    NonFinite {
        /// The step that found it, counted from 1.
        step: u64,
        /// Which quantity.
        what: &'static str,
        /// Its value.
        value: f64,
        /// Numbers of the documents that the step read, counted from 0 in the order of the corpus; empty where it is not they that matter.
        documents: String,
        /// The newest checkpoint of finite loss, where there is one.
        checkpoint: Option<PathBuf>,
    },
    /// The loss, or the gradient's norm, stood above its course for several steps, and the recipe stops at that.
    #[error(
        "step {step}: {what} is {value:.4}, far above its median of {median:.4} since step {first}{}: {}",
        read(documents), last_good(.checkpoint.as_deref())
    )]
    Spike {
        /// Which series.
        what: &'static str,
        /// The step that made it a spike, counted from 1.
        step: u64,
        /// The first step that stood too high.
        first: u64,
        /// The value at `step`.
        value: f64,
        /// The median before.
        median: f64,
        /// Numbers of the documents that step `first` read, counted from 0 in the order of the corpus.
        documents: String,
        /// The newest checkpoint from before the spike, where there is one.
        checkpoint: Option<PathBuf>,
    },
    /// A parameter took no part in the loss.
    #[error("parameter {0} received no gradient: it takes no part in the loss")]
    NoGradient(String),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file of torch.save is not read.
    #[error(transparent)]
    Pickle(#[from] crate::pickle::PickleError),
    /// The model refused.
    #[error(transparent)]
    Model(#[from] coppice_models::Error),
}

/// Result with [`TrainError`].
pub type Result<T> = std::result::Result<T, TrainError>;

impl From<tch::TchError> for TrainError {
    fn from(error: tch::TchError) -> Self {
        Self::Model(error.into())
    }
}

impl TrainError {
    /// Names the file an I/O error belongs to.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().to_path_buf(), source }
    }

    /// A checkpoint at `path` that cannot be used, and why.
    pub fn checkpoint(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::Checkpoint { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }
}

fn read(documents: &str) -> String {
    if documents.is_empty() { String::new() } else { format!(" on documents {documents} of the corpus") }
}

fn last_good(checkpoint: Option<&Path>) -> String {
    match checkpoint {
        Some(path) => format!("the last good checkpoint is {}; a lower learning rate or more warm-up may help", path.display()),
        None => "there is no good checkpoint; a lower learning rate or more warm-up may help".into(),
    }
}
