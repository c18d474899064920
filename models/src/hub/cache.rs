//! The cache's layout on disk: where a blob, a snapshot, a ref and a lock lie, and how they are made.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::error::HubError;
use super::names::{RepoId, is_commit};
use crate::fs::{FsError, sync_dir, write_atomic};

/// The marker by which backup tools know a cache (bford.info/cachedir).
const CACHE_TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of the Hugging Face Hub.\n";

/// The folder that holds one `models--…` folder a repository.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    pub(super) root: PathBuf,
}

/// One repository's part of the cache.
#[derive(Debug, Clone)]
pub(super) struct RepoCache {
    pub(super) root: PathBuf,
    locks: PathBuf,
}

impl Cache {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn repo(&self, repo: &RepoId) -> RepoCache {
        RepoCache { root: self.root.join(repo.folder()), locks: self.root.join(".locks").join(repo.folder()) }
    }

    /// Makes the cache folder and marks it as one.
    pub(super) fn create(&self) -> Result<(), HubError> {
        make_dir(&self.root)?;
        let tag = self.root.join("CACHEDIR.TAG");
        if tag.exists() { Ok(()) } else { Ok(write_atomic(tag, CACHE_TAG)?) }
    }
}

impl RepoCache {
    /// The content-addressed file of an etag.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    /// Where an etag's bytes gather until they are whole.
    pub(super) fn partial(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(format!("{etag}.incomplete"))
    }

    /// The folder of a commit's files.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// The commit a revision was last pulled at, or the revision itself where it is a commit.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = fs::read_to_string(self.root.join("refs").join(revision)).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Records what commit a branch or tag stands for.
    pub(super) fn set_ref(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if revision == commit || self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.root.join("refs").join(revision);
        path.parent().map_or(Ok(()), make_dir)?;
        Ok(write_atomic(path, commit.as_bytes())?)
    }

    /// Waits for and takes the lock under which a blob is written; released when the file is dropped.
    pub(super) fn lock(&self, etag: &str) -> Result<File, HubError> {
        make_dir(&self.locks)?;
        let path = self.locks.join(format!("{etag}.lock"));
        let file = File::options().create(true).append(true).open(&path).map_err(FsError::io("open", &path))?;
        file.lock().map_err(FsError::io("lock", &path))?;
        Ok(file)
    }

    /// Links `snapshots/<commit>/<file>` to its blob by a relative link, put in place by a rename.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> Result<(), HubError> {
        let pointer = self.snapshot(commit).join(file);
        let folder = pointer.parent().unwrap_or(&self.root);
        make_dir(folder)?;
        let up = "../".repeat(file.split('/').count() + 1);
        let scratch = tempfile::Builder::new().prefix(".").suffix(".tmp").tempdir_in(folder).map_err(FsError::io("write in", folder))?;
        let temporary = scratch.path().join("link");
        std::os::unix::fs::symlink(format!("{up}blobs/{etag}"), &temporary).map_err(FsError::io("link", &pointer))?;
        fs::rename(&temporary, &pointer).map_err(FsError::io("link", &pointer))?;
        Ok(sync_dir(folder)?)
    }
}

/// Makes a folder and its parents.
pub(super) fn make_dir(folder: &Path) -> Result<(), HubError> {
    Ok(fs::create_dir_all(folder).map_err(FsError::io("create", folder))?)
}
