//! What can go wrong between a dense checkpoint and its upcycled copy.

use std::path::{Path, PathBuf};

use coppice_models::fs::FsError;

/// Anything that stops a conversion or its step-0 report. Nothing is left half-written in any case.
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
    /// A file could not be written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A tensor was written with another number of bytes than its header states: a fault of the method.
    #[error("{path}: {found} bytes of tensors were written where the header states {expected}")]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes the header states.
        expected: u64,
        /// Bytes written.
        found: u64,
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
