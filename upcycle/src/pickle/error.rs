//! Why a file of `torch.save` is not read.

use std::path::{Path, PathBuf};

/// A refusal, with the file it is about.
#[derive(Debug, thiserror::Error)]
pub enum PickleError {
    /// The file could not be opened or mapped.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It is no whole archive of the kind that `torch.save` writes.
    #[error("{path}: not a whole file of torch.save ({reason})")]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Its program names a class or function that is none of those known.
    #[error("{path}: refused, because it names {class} (byte {at} of data.pkl), which no optimizer state needs; nothing was called")]
    Class {
        /// The file.
        path: PathBuf,
        /// Module and name.
        class: String,
        /// Where, in bytes from the start of the program.
        at: usize,
    },
    /// Its program is malformed, or does what the machine here does not.
    #[error("{path}: {reason} (byte {at} of data.pkl)")]
    Program {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// Where, in bytes from the start of the program.
        at: usize,
    },
    /// libtorch refused an operation.
    #[error(transparent)]
    Torch(#[from] coppice_models::Error),
}

/// What stops the machine, before the file is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// A class or function that is not known.
    Class(String),
    /// Anything else, in words.
    Program(String),
}

/// Result of one instruction.
pub(super) type Outcome<T> = Result<T, Fault>;

/// A [`Fault::Program`].
pub(super) fn fault<T>(reason: impl Into<String>) -> Outcome<T> {
    Err(Fault::Program(reason.into()))
}

impl Fault {
    pub(super) fn of(self, path: &Path, at: usize) -> PickleError {
        let path = path.to_path_buf();
        match self {
            Self::Class(class) => PickleError::Class { path, class, at },
            Self::Program(reason) => PickleError::Program { path, reason, at },
        }
    }
}

impl PickleError {
    pub(super) fn archive(path: &Path, reason: impl ToString) -> Self {
        Self::Archive { path: path.to_path_buf(), reason: reason.to_string() }
    }
}

impl From<tch::TchError> for PickleError {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(error.into())
    }
}
