//! What an unfinished conversion remembers: what it was asked to do, and which files are done.
//!
//! A file is done when it is synced to the disk and written here with its size. Its bytes are not hashed: they would have to be read again,
//! and after a sync the size tells a whole file from a torn one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::UNIX_EPOCH;

use coppice_models::fs::{StagedDir, write_atomic};
use serde::{Deserialize, Serialize};

use super::error::{ConvertError, Result};
use super::options::Options;
use super::plan::Plan;
use super::sources::Sources;

/// The record's name in the unfinished folder.
const RECORD: &str = "unfinished.json";

/// An unfinished conversion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Hash of what is to be done, see [`fingerprint`].
    pub(crate) plan: String,
    /// Finished weights files and their sizes in bytes.
    pub(crate) files: BTreeMap<String, u64>,
}

impl Record {
    /// What can be gone on with; everything else is removed from the folder.
    ///
    /// # Errors
    /// [`ConvertError::OtherPlan`] when the folder was begun as another conversion; it stays as it is.
    pub(crate) fn open(folder: &StagedDir, plan: String, resume: bool) -> Result<Self> {
        let found = if resume { Self::read(folder.path()) } else { None };
        if found.as_ref().is_some_and(|found| found.plan != plan) {
            return Err(ConvertError::OtherPlan { path: folder.path().to_path_buf() });
        }
        let mut files = found.map(|found| found.files).unwrap_or_default();
        files.retain(|name, size| std::fs::metadata(folder.path().join(name)).is_ok_and(|file| file.len() == *size));
        let record = Self { plan, files };
        record.tidy(folder)?;
        record.save(folder.path())?;
        Ok(record)
    }

    fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.join(RECORD)).ok()?).ok()
    }

    /// Removes what is not finished.
    pub(crate) fn tidy(&self, folder: &StagedDir) -> Result<()> {
        Ok(folder.clear(|name| name == RECORD || self.files.contains_key(name))?)
    }

    /// Notes a finished file, which must be synced.
    pub(crate) fn add(&mut self, folder: &Path, name: &str, bytes: u64) -> Result<()> {
        self.files.insert(name.to_owned(), bytes);
        self.save(folder)
    }

    /// Bytes of the finished files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.values().sum()
    }

    /// Takes the record away from a folder that is whole.
    pub(crate) fn remove(folder: &Path) -> Result<()> {
        let path = folder.join(RECORD);
        std::fs::remove_file(&path).map_err(ConvertError::io(path))
    }

    fn save(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string(self).map_err(|error| ConvertError::io(folder)(error.into()))?;
        Ok(write_atomic(folder.join(RECORD), text.as_bytes())?)
    }
}

/// A hash of all that decides the bytes of the result: this program's version, the options, the sizes and times of change of the
/// sources' files, and how each tensor is made.
///
/// # Errors
/// When a source's folder cannot be listed.
pub(crate) fn fingerprint(plan: &Plan, sources: &Sources, options: &Options) -> Result<String> {
    let options = Options { overwrite: false, resume: false, jobs: 1, ..options.clone() };
    let mut text = format!("{} {options:?}", env!("CARGO_PKG_VERSION"));
    for source in sources.all() {
        text += &files_of(&source.folder).map_err(ConvertError::io(&source.folder))?.join("\n");
    }
    for step in &plan.steps {
        let _ = write!(text, "\n{:?} {:?}", step.header, step.recipe.sources());
    }
    Ok(blake3::hash(text.as_bytes()).to_hex().to_string())
}

/// Name, size and time of change of the files that make a checkpoint.
fn files_of(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "config.json" || name.ends_with(".safetensors") {
            let about = std::fs::metadata(entry.path())?;
            let changed = about.modified()?.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
            files.push(format!("{name} {} {changed}", about.len()));
        }
    }
    files.sort();
    Ok(files)
}
