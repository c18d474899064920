//! What can go wrong between a dense checkpoint and its upcycled copy.

use std::path::{Path, PathBuf};

use coppice_models::fs::FsError;

/// Anything that stops a conversion or its step-0 report. Nothing is left half-written in any case; only [`ConvertError::Paused`] keeps
/// finished files, hidden beside the output.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The options cannot be used, alone or with this source.
    #[error("{0}")]
    Options(String),
    /// A source tensor holds NaN or infinity.
    #[error("{path}: tensor {tensor} holds NaN or infinity")]
    NonFinite {
        /// The source's folder.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
    },
    /// A finite source tensor does not fit the range of the output's element type.
    #[error("tensor {tensor} has values beyond the range of {dtype}; write f32 or bf16")]
    Overflow {
        /// Name of the tensor in the output.
        tensor: String,
        /// The output's element type.
        dtype: safetensors::Dtype,
    },
    /// The caller's flag was raised.
    #[error("interrupted; nothing was written")]
    Interrupted,
    /// The caller's flag was raised after some files were finished.
    #[error("interrupted; {finished} of {files} weights files are finished and kept, --resume goes on from there")]
    Paused {
        /// Weights files that are done.
        finished: usize,
        /// Weights files in all.
        files: usize,
    },
    /// A conversion cannot go on because it was begun as another one.
    #[error(
        "{path} was begun from another source, with other options or by another version: repeat those, or leave --resume out to begin anew"
    )]
    OtherPlan {
        /// The unfinished folder.
        path: PathBuf,
    },
    /// A source tensor would be lost without a word.
    #[error("{path}: the method {method} leaves out {names} and does not say why; nothing was written")]
    Unaccounted {
        /// The source's folder.
        path: PathBuf,
        /// Name of the method.
        method: &'static str,
        /// At most four tensors, and how many more there are.
        names: String,
    },
    /// A file could not be written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A tensor was made in another shape than the configuration asks for: a fault of the method.
    #[error("tensor {tensor} was made with shape {found:?}, the configuration asks for {expected:?}")]
    Shape {
        /// Name of the tensor in the output.
        tensor: String,
        /// Shape in the configuration.
        expected: Vec<usize>,
        /// Shape made.
        found: Vec<i64>,
    },
    /// The output exists, or the disk has no room for it.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The source or the result cannot be read or run.
    #[error(transparent)]
    Model(#[from] coppice_models::Error),
}

/// Result with [`ConvertError`].
pub type Result<T> = std::result::Result<T, ConvertError>;

impl ConvertError {
    /// Names the file an I/O error belongs to.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { path, source }
    }
}

impl From<tch::TchError> for ConvertError {
    fn from(error: tch::TchError) -> Self {
        Self::Model(error.into())
    }
}
