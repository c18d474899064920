//! `coppice ls`: what the cache holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Hub;
use super::error::HubError;
use super::names::{RepoId, is_commit};
use super::resolve::missing;
use crate::fs::FsError;

/// A model repository in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CachedRepo {
    /// The repository's id.
    pub id: String,
    /// Its folder in the cache.
    pub path: PathBuf,
    /// Bytes of all blobs, partial downloads among them; files shared by revisions count once.
    pub bytes: u64,
    /// Its revisions, by commit.
    pub revisions: Vec<CachedRevision>,
}

/// One commit of a [`CachedRepo`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CachedRevision {
    /// The commit.
    pub commit: String,
    /// Branches and tags that stand for it.
    pub refs: Vec<String>,
    /// The snapshot folder.
    pub path: PathBuf,
    /// Bytes of its files.
    pub bytes: u64,
    /// What it lacks to be loaded as a checkpoint; `None` where it is complete.
    pub missing: Option<String>,
    /// Its files, by name.
    pub files: Vec<CachedFile>,
}

/// One file of a [`CachedRevision`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CachedFile {
    /// Path from the repository's root.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
}

impl Hub {
    /// All model repositories in the cache, by id; none where there is no cache yet.
    ///
    /// # Errors
    /// [`HubError::Fs`] for a folder that cannot be read.
    pub fn ls(&self) -> Result<Vec<CachedRepo>, HubError> {
        if !self.cache.root.exists() {
            return Ok(Vec::new());
        }
        let ids = names(&self.cache.root)?.into_iter().filter_map(|name| RepoId::from_folder(&name));
        ids.map(|id| repo(&id, self.cache.root.join(id.folder()))).collect()
    }
}

fn repo(id: &RepoId, path: PathBuf) -> Result<CachedRepo, HubError> {
    let refs = refs(&path.join("refs"))?;
    let commits = names(&path.join("snapshots"))?.into_iter().filter(|name| is_commit(name));
    let revisions = commits.map(|commit| revision(&path, commit, &refs)).collect::<Result<_, _>>()?;
    let bytes = files(&path.join("blobs"))?.iter().map(|file| file.bytes).sum();
    Ok(CachedRepo { id: id.to_string(), path, bytes, revisions })
}

fn revision(repo: &Path, commit: String, refs: &BTreeMap<String, String>) -> Result<CachedRevision, HubError> {
    let path = repo.join("snapshots").join(&commit);
    let files = files(&path)?;
    let refs = refs.iter().filter(|(_, target)| **target == commit).map(|(name, _)| name.clone()).collect();
    Ok(CachedRevision { commit, refs, bytes: files.iter().map(|file| file.bytes).sum(), missing: missing(&path), files, path })
}

/// Branch or tag to commit.
fn refs(folder: &Path) -> Result<BTreeMap<String, String>, HubError> {
    let read = |file: CachedFile| {
        let path = folder.join(&file.name);
        let text = fs::read_to_string(&path).map_err(FsError::io("read", &path))?;
        Ok((file.name, text.trim().to_owned()))
    };
    files(folder)?.into_iter().map(read).collect()
}

/// All files below a folder by relative name, links to files followed, links to nothing left out.
fn files(folder: &Path) -> Result<Vec<CachedFile>, HubError> {
    let mut found = Vec::new();
    for name in names(folder)? {
        let path = folder.join(&name);
        match (fs::symlink_metadata(&path), fs::metadata(&path)) {
            (Ok(own), _) if own.is_dir() => found.extend(files(&path)?.into_iter().map(|file| inside(&name, file))),
            (_, Ok(target)) if target.is_file() => found.push(CachedFile { name, bytes: target.len() }),
            _ => {}
        }
    }
    Ok(found)
}

fn inside(folder: &str, file: CachedFile) -> CachedFile {
    CachedFile { name: format!("{folder}/{}", file.name), ..file }
}

/// Names in a folder, sorted; none where the folder is not there. Names that are not UTF-8 are not the Hub's.
fn names(folder: &Path) -> Result<BTreeSet<String>, HubError> {
    if !folder.is_dir() {
        return Ok(BTreeSet::new());
    }
    let entries = fs::read_dir(folder).map_err(FsError::io("list", folder))?;
    let entries = entries.collect::<Result<Vec<_>, _>>().map_err(FsError::io("list", folder))?;
    Ok(entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}
