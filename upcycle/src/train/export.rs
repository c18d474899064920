//! Writing parameters to safetensors files, and a trained model to a folder in the Hugging Face layout.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use coppice_models::fs::{AtomicDir, Existing};
use coppice_models::state::Parameter;
use coppice_models::{Model, remote_code};
use safetensors::tensor::{Dtype, View};
use tch::{Device, Kind, Tensor};

use super::error::{Result, TrainError};
use crate::companions;

/// A tensor in memory as a file takes it: contiguous, on the CPU.
struct Plain {
    shape: Vec<usize>,
    dtype: Dtype,
    tensor: Tensor,
}

impl Plain {
    fn new(tensor: &Tensor) -> Result<Self> {
        let dtype = dtype(tensor.kind())?;
        let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
        Ok(Self { shape: tensor.size().iter().map(|&size| size as usize).collect(), dtype, tensor })
    }
}

impl View for Plain {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        // SAFETY: the tensor is contiguous in host memory, holds `data_len` bytes, and lives as long as the slice.
        Cow::Borrowed(unsafe { std::slice::from_raw_parts(self.tensor.data_ptr().cast(), self.data_len()) })
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.tensor.kind().elt_size_in_bytes()
    }
}

/// The file's name of an element type that training knows.
pub(super) fn dtype(kind: Kind) -> Result<Dtype> {
    match kind {
        Kind::Float => Ok(Dtype::F32),
        Kind::BFloat16 => Ok(Dtype::BF16),
        other => Err(TrainError::Recipe(format!("tensors of {other:?} are not written to checkpoints, expected f32 or bf16"))),
    }
}

/// Writes parameters as a safetensors file, packed ones as their parts, in their own types.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write_parameters<'a>(path: &Path, parameters: impl Iterator<Item = &'a Parameter>) -> Result<()> {
    let mut tensors = Vec::new();
    for parameter in parameters {
        for (name, tensor) in parameter.stored()? {
            tensors.push((name, Plain::new(&tensor)?));
        }
    }
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(tensors, Some(metadata), path).map_err(|error| TrainError::checkpoint(path, error.to_string()))
}

/// Writes `config.json` and `model.safetensors` of a model into a folder that exists.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn write_model(folder: &Path, model: &Model) -> Result<()> {
    write_json(&folder.join("config.json"), &model.config.to_json(if model.kind() == Kind::BFloat16 { "bfloat16" } else { "float32" }))?;
    write_parameters(&folder.join("model.safetensors"), model.parameters().iter())
}

/// Writes a value as indented JSON.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| TrainError::checkpoint(path, error.to_string()))?;
    std::fs::write(path, text + "\n").map_err(|source| TrainError::io(path, source))
}

/// Exports a model to `folder` (replaced where it exists) in the Hugging Face layout, with the tokenizer files of `source` and, for a
/// mixture of experts, the Python files that transformers loads it with.
///
/// # Errors
/// When a file cannot be read or written; an older export is untouched then.
pub fn export(model: &Model, folder: &Path, source: Option<&Path>) -> Result<PathBuf> {
    let target = AtomicDir::create(folder, Existing::Replace).map_err(coppice_models::Error::from)?;
    write_model(target.path(), model)?;
    if model.config.moe.is_some() {
        remote_code::write(target.path()).map_err(coppice_models::Error::from)?;
    }
    if let Some(source) = source {
        companions::copy(source, target.path()).map_err(|(path, error)| TrainError::io(path, error))?;
    }
    target.commit().map_err(coppice_models::Error::from)?;
    Ok(folder.to_path_buf())
}
