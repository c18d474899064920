//! The files of an encoder's folder, and its tensors by the names that the networks ask for.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::safetensors::BufferedSafetensors;
use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::EncoderError;
use super::config::Config;

/// A folder that a model lies in.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
}

/// The model's tensors, read as `f32`.
pub(super) struct Weights {
    pub(super) path: PathBuf,
    pub(super) names: HashSet<String>,
    pub(super) tensors: VarBuilder<'static>,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn broken(&self, name: &str, why: impl ToString) -> EncoderError {
        EncoderError::File { path: self.file(name), why: first_line(why) }
    }

    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, EncoderError> {
        fs::read(self.file(name)).map_err(|error| self.broken(name, format!("cannot be read: {error}")))
    }

    pub(super) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, EncoderError> {
        serde_json::from_slice(&self.read(name)?).map_err(|error| self.broken(name, error))
    }

    /// A file that need not be there.
    pub(super) fn optional_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, EncoderError> {
        if self.file(name).exists() { self.json(name).map(Some) } else { Ok(None) }
    }

    /// The tensors of `model.safetensors`. Older files call the parameters of a layer norm `gamma` and `beta`.
    pub(super) fn weights(&self) -> Result<Weights, EncoderError> {
        self.refuse_pickles()?;
        let bytes = self.read(SAFETENSORS)?;
        let file = BufferedSafetensors::new(bytes).map_err(|error| self.broken(SAFETENSORS, error))?;
        if let Some((name, dtype)) = file.tensors().iter().find_map(|(name, view)| quantised(name, view.dtype())) {
            return Err(self.broken(SAFETENSORS, format!("{name} is of type {dtype}; expected F32, F16 or BF16")));
        }
        let names: HashSet<String> = file.tensors().into_iter().map(|(name, _)| name).collect();
        let known = names.clone();
        let tensors = VarBuilder::from_backend(Box::new(file), DType::F32, Device::Cpu).rename_f(move |name| stored_name(&known, name));
        Ok(Weights { path: self.file(SAFETENSORS), names, tensors })
    }

    /// Tokens a text may have: the least that `config.json` and `tokenizer_config.json` say.
    pub(super) fn max_length(&self, config: &Config) -> Result<usize, EncoderError> {
        let settings: Option<Value> = self.optional_json("tokenizer_config.json")?;
        // Without a limit, transformers writes 1e30.
        let told = settings.and_then(|settings| settings["model_max_length"].as_u64()).map_or(usize::MAX, |length| length as usize);
        Ok(told.min(config.max_length))
    }

    fn refuse_pickles(&self) -> Result<(), EncoderError> {
        if self.file(SAFETENSORS).exists() {
            return Ok(());
        }
        let others = ["pytorch_model.bin", "model.safetensors.index.json", "tf_model.h5", "model.onnx"];
        match others.into_iter().find(|other| self.file(other).exists()) {
            Some(found) => Err(EncoderError::NoSafetensors { folder: self.path.clone(), found }),
            None => Ok(()),
        }
    }
}

const SAFETENSORS: &str = "model.safetensors";

impl Weights {
    pub(super) fn broken(&self, why: impl ToString) -> EncoderError {
        EncoderError::File { path: self.path.clone(), why: first_line(why) }
    }

    /// The tensors under `prefix`, or all where the file was saved without it.
    pub(super) fn under(&self, prefix: &str) -> VarBuilder<'static> {
        let dotted = format!("{prefix}.");
        if self.names.iter().any(|name| name.starts_with(&dotted)) { self.tensors.pp(prefix) } else { self.tensors.clone() }
    }

    /// The tensors for a network that asks for all of them under `prefix`, whether or not the file was saved with it.
    pub(super) fn bare(&self, prefix: &str) -> VarBuilder<'static> {
        let dotted = format!("{prefix}.");
        if self.names.iter().any(|name| name.starts_with(&dotted)) {
            return self.tensors.clone();
        }
        self.tensors.clone().rename_f(move |name| name.strip_prefix(&dotted).unwrap_or(name).to_owned())
    }
}

/// candle's messages carry a stack trace where the environment asks for one.
pub(super) fn first_line(message: impl ToString) -> String {
    message.to_string().lines().next().unwrap_or_default().to_owned()
}

fn quantised(name: &str, dtype: safetensors::Dtype) -> Option<(String, String)> {
    use safetensors::Dtype::{BF16, F16, F32, F64};
    let weight = name.ends_with("weight") || name.ends_with("bias");
    (weight && !matches!(dtype, F32 | F16 | BF16 | F64)).then(|| (name.to_owned(), format!("{dtype:?}")))
}

fn stored_name(known: &HashSet<String>, wanted: &str) -> String {
    let old = |suffix: &str, old: &str| wanted.strip_suffix(suffix).map(|stem| format!("{stem}{old}"));
    let candidates = [old("LayerNorm.weight", "LayerNorm.gamma"), old("LayerNorm.bias", "LayerNorm.beta")];
    let stored = candidates.into_iter().flatten().find(|name| known.contains(name));
    if known.contains(wanted) { wanted.to_owned() } else { stored.unwrap_or_else(|| wanted.to_owned()) }
}
