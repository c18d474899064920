//! The crate's error: what was being done, what was expected, what was found.

use std::path::{Path, PathBuf};

/// Anything that can go wrong between a checkpoint on disk and a token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// `config.json` is absent, malformed, of another architecture, or states sizes that cannot be.
    #[error("config: {0}")]
    Config(String),
    /// A weights file is malformed, or its tensors are not those the configuration asks for.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
    /// The caller's tokens, prompt or options cannot be used with this model.
    #[error("{0}")]
    Input(String),
    /// The model computed NaN or infinity.
    #[error("{0}")]
    NonFinite(String),
    /// Another process of the run was lost, or could not be met.
    #[error("{0}")]
    Distributed(String),
    /// libtorch refused an operation.
    #[error("libtorch: {}", first_line(.0))]
    Torch(#[from] tch::TchError),
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Names the file an I/O error belongs to.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        Self::Io { path, source }
    }
}

/// libtorch's messages carry a C++ stack below their first line.
fn first_line(error: &tch::TchError) -> String {
    error.to_string().lines().next().unwrap_or("unknown error").to_owned()
}
