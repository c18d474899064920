//! A world as files: each written whole or not at all, the manifest last.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use coppice_models::fs::{AtomicFile, Existing};
use serde::{Deserialize, Serialize};

use super::attribute::Attribute;
use super::config::WorldConfig;
use super::{Result, World, WorldError};

/// The file that says that all others are there.
pub const MANIFEST: &str = "manifest.json";

/// Length and hash of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3 hash of the content, hexadecimal.
    pub blake3: String,
}

/// `manifest.json`: what the folder holds and from which recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The recipe.
    pub config: WorldConfig,
    /// Entropy of each attribute's pool in nats, ln(pool size).
    pub pool_entropies: BTreeMap<Attribute, f64>,
    /// Bits the training text asks a model to store ([`World::demanded_bits`]).
    pub demanded_bits: f64,
    /// Every other file.
    pub files: BTreeMap<String, FileEntry>,
}

impl World {
    /// Writes `train.jsonl`, `valid.jsonl`, `questions.jsonl`, `knowledge.jsonl`, `pools.json` and, last, `manifest.json` into
    /// `folder`, which is made if it is not there. An older world's files are replaced; its manifest goes first.
    ///
    /// # Errors
    /// [`WorldError::Io`] naming the file; nothing half-written stays, and without a manifest the folder is not complete.
    pub fn write(&self, folder: &Path) -> Result<Manifest> {
        std::fs::create_dir_all(folder).map_err(|source| WorldError::io(folder, source))?;
        remove_manifest(folder)?;
        let mut files = BTreeMap::new();
        files.insert("train.jsonl".to_owned(), write_lines(folder, "train.jsonl", self.training_documents())?);
        files.insert("valid.jsonl".to_owned(), write_lines(folder, "valid.jsonl", self.validation_documents())?);
        files.insert("questions.jsonl".to_owned(), write_lines(folder, "questions.jsonl", self.questions())?);
        files.insert("knowledge.jsonl".to_owned(), write_lines(folder, "knowledge.jsonl", self.knowledge())?);
        files.insert("pools.json".to_owned(), write_lines(folder, "pools.json", std::iter::once(self.pools()))?);
        let manifest = self.manifest(files);
        write_lines(folder, MANIFEST, std::iter::once(&manifest))?;
        Ok(manifest)
    }

    fn manifest(&self, files: BTreeMap<String, FileEntry>) -> Manifest {
        let pool_entropies = Attribute::ALL.iter().map(|&attribute| (attribute, self.pools.entropy(attribute))).collect();
        Manifest { config: self.config.clone(), pool_entropies, demanded_bits: self.demanded_bits(), files }
    }
}

fn remove_manifest(folder: &Path) -> Result<()> {
    let path = folder.join(MANIFEST);
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(WorldError::io(&path, source)),
        _ => Ok(()),
    }
}

/// One JSON value a line.
fn write_lines<T: Serialize>(folder: &Path, name: &str, values: impl Iterator<Item = T>) -> Result<FileEntry> {
    let path = folder.join(name);
    let mut file = AtomicFile::create(&path, Existing::Replace)?;
    let entry = write_values(&mut file, values).map_err(|source| WorldError::io(&path, source))?;
    file.commit()?;
    Ok(entry)
}

fn write_values<T: Serialize>(file: &mut impl Write, values: impl Iterator<Item = T>) -> std::io::Result<FileEntry> {
    let mut hasher = blake3::Hasher::new();
    for value in values {
        let mut line = serde_json::to_vec(&value)?;
        line.push(b'\n');
        hasher.update(&line);
        file.write_all(&line)?;
    }
    Ok(FileEntry { bytes: hasher.count(), blake3: hasher.finalize().to_hex().to_string() })
}
