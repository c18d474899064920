//! Checkpoints of a run: `checkpoints/step-00000120/` with the weights (Hugging Face layout), the optimizer's moments, and the state.
//!
//! The folder is built under a temporary name and renamed when all of it is on disk; `manifest.json`, written last, holds a hash of
//! every other file, so that a damaged checkpoint is known as such and the one before it is taken.

mod state;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use coppice_models::fs::{AtomicDir, Existing};
use coppice_models::state::Parameter;
use coppice_models::{Config, Model};
use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad_guard};

pub use self::state::{DataPosition, State};
use super::error::{Result, TrainError};
use super::export::{dtype, write_json, write_model, write_parameters};
use super::optimizer::AdamW;
use super::recipe::CheckpointConfig;

const FILES: [&str; 4] = ["config.json", "model.safetensors", "optimizer.safetensors", "state.json"];

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    step: u64,
    files: BTreeMap<String, String>, // name to blake3
}

/// Writes the checkpoint of `state` below `folder` and returns its path; one of the same step is replaced.
///
/// # Errors
/// When a file cannot be written; nothing is left of it then.
pub fn save(folder: &Path, model: &Model, optimizer: &AdamW, state: &State) -> Result<PathBuf> {
    let path = folder.join(format!("step-{:08}", state.step));
    let target = AtomicDir::create(&path, Existing::Replace).map_err(coppice_models::Error::from)?;
    write_model(target.path(), model)?;
    write_parameters(&target.path().join("optimizer.safetensors"), optimizer.state())?;
    write_json(&target.path().join("state.json"), state)?;
    let files = FILES.iter().map(|name| Ok(((*name).to_owned(), hash(&target.path().join(name))?))).collect::<Result<_>>()?;
    write_json(&target.path().join("manifest.json"), &Manifest { step: state.step, files })?;
    target.commit().map_err(coppice_models::Error::from)?;
    Ok(path)
}

/// Checks every file of a checkpoint against its manifest and returns its state.
///
/// # Errors
/// Names what is absent, malformed or altered.
pub fn verify(path: &Path) -> Result<State> {
    let manifest: Manifest = read_json(&path.join("manifest.json"))?;
    for name in FILES {
        let promised =
            manifest.files.get(name).ok_or_else(|| TrainError::checkpoint(path, format!("manifest.json does not list {name}")))?;
        if *promised != hash(&path.join(name))? {
            return Err(TrainError::checkpoint(path.join(name), "is damaged: its hash is not that of manifest.json"));
        }
    }
    let state: State = read_json(&path.join("state.json"))?;
    if state.step == manifest.step { Ok(state) } else { Err(TrainError::checkpoint(path, "state.json and manifest.json differ in step")) }
}

/// The newest whole checkpoint below `folder`; `skipped` is told of every damaged one that is newer.
///
/// # Errors
/// When the folder cannot be read.
pub fn newest(folder: &Path, mut skipped: impl FnMut(&Path, &str)) -> Result<Option<(PathBuf, State)>> {
    for path in list(folder)?.into_iter().rev() {
        match verify(&path) {
            Ok(state) => return Ok(Some((path, state))),
            Err(error) => skipped(&path, &error.to_string()),
        }
    }
    Ok(None)
}

/// Puts the weights and moments of a verified checkpoint back into a model and its optimizer.
///
/// # Errors
/// When it belongs to another model.
pub fn restore(path: &Path, found: &State, model: &Model, optimizer: &mut AdamW) -> Result<()> {
    if Config::load(path)? != model.config {
        return Err(TrainError::checkpoint(path, "is a checkpoint of another model: its config.json differs"));
    }
    read_parameters(&path.join("model.safetensors"), model.parameters().iter())?;
    read_parameters(&path.join("optimizer.safetensors"), optimizer.state())?;
    optimizer.resume_at(found.updates_before + found.step);
    Ok(())
}

/// Removes the checkpoints that the recipe does not keep: all but the newest, and those kept for good.
///
/// # Errors
/// When one cannot be removed.
pub fn prune(folder: &Path, config: &CheckpointConfig) -> Result<()> {
    let (all, every) = (list(folder)?, config.keep_every_steps);
    let for_good = |path: &&PathBuf| every > 0 && step_of(path).is_some_and(|step| step.is_multiple_of(every));
    all[..all.len().saturating_sub(config.keep_last)].iter().filter(|path| !for_good(path)).try_for_each(|path| remove(path))
}

/// Removes what a killed process left half-written.
///
/// # Errors
/// When it cannot be removed.
pub fn clear_unfinished(folder: &Path) -> Result<()> {
    let unfinished = |name: &str| name.starts_with('.') && name.ends_with(".tmp");
    entries(folder, unfinished)?.iter().try_for_each(|path| std::fs::remove_dir_all(path).map_err(|source| TrainError::io(path, source)))
}

/// Checkpoint folders, oldest first.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    entries(folder, |name| step_of(Path::new(name)).is_some())
}

/// The step in a checkpoint folder's name.
pub fn step_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("step-").filter(|digits| digits.len() >= 8)?.parse().ok()
}

fn entries(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let read = std::fs::read_dir(folder).map_err(|source| TrainError::io(folder, source))?;
    let mut names: Vec<String> = read.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(|name| wanted(name)).collect();
    names.sort_by_key(|name| (name.len(), name.clone()));
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Takes a checkpoint's name away before its files, so that no half-removed one is ever found.
fn remove(path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let doomed = path.with_file_name(format!(".{name}.tmp"));
    std::fs::rename(path, &doomed).and_then(|()| std::fs::remove_dir_all(&doomed)).map_err(|source| TrainError::io(path, source))
}

fn hash(path: &Path) -> Result<String> {
    let file = File::open(path).map_err(|source| TrainError::io(path, source))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).map_err(|source| TrainError::io(path, source))?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(|source| TrainError::io(path, source))?;
    serde_json::from_str(&text).map_err(|error| TrainError::checkpoint(path, format!("is malformed: {error}")))
}

/// Copies every parameter's tensors from a file into it.
fn read_parameters<'a>(path: &Path, parameters: impl Iterator<Item = &'a Parameter>) -> Result<()> {
    let _guard = no_grad_guard();
    let file = File::open(path).map_err(|source| TrainError::io(path, source))?;
    // SAFETY: private and read-only; a file that is truncated while it is mapped is beyond any reader's reach.
    let map = unsafe { Mmap::map(&file) }.map_err(|source| TrainError::io(path, source))?;
    let tensors = SafeTensors::deserialize(&map).map_err(|error| TrainError::checkpoint(path, error.to_string()))?;
    for parameter in parameters {
        for (name, mut target) in parameter.stored()? {
            let view = tensors.tensor(&name).map_err(|error| TrainError::checkpoint(path, error.to_string()))?;
            target.f_copy_(&fitting(path, &name, &view, &target)?)?;
        }
    }
    Ok(())
}

fn fitting(path: &Path, name: &str, view: &TensorView, target: &Tensor) -> Result<Tensor> {
    let (shape, wanted): (Vec<i64>, _) = (view.shape().iter().map(|&size| size as i64).collect(), dtype(target.kind())?);
    if view.dtype() != wanted || shape != target.size() {
        let found = format!("{name} is {:?} {shape:?}, expected {wanted:?} {:?}", view.dtype(), target.size());
        return Err(TrainError::checkpoint(path, found));
    }
    Ok(Tensor::f_from_data_size(view.data(), &shape, target.kind())?)
}
