//! A folder whose making may stop and go on: it is built as `.NAME.partial` beside its place, by one process at a time.
//!
//! The lock is `flock(2)` on the folder itself, so that it ends with the process and leaves no file.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::dir::into_place;
use super::{Existing, FsError, check_target, parent};

/// A folder under construction. Dropped before [`StagedDir::commit`] it leaves nothing, unless [`StagedDir::keep`] was called.
#[derive(Debug)]
pub struct StagedDir {
    target: PathBuf,
    path: PathBuf,
    existing: Existing,
    /// Holds the lock.
    _lock: File,
    keep: bool,
}

/// What an earlier process left beside a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftOver {
    /// Nothing.
    Nothing,
    /// A folder that nobody is writing to.
    Idle(PathBuf),
    /// A folder that another process is writing to.
    Busy(PathBuf),
}

impl StagedDir {
    /// Opens and locks the folder beside `target`, creating it and the parents where they are absent. What an earlier process left in it
    /// is the caller's to judge; until [`StagedDir::keep`] says otherwise it is kept if it was there.
    ///
    /// # Errors
    /// [`FsError::Busy`] if another process has it, [`FsError::Exists`] if `target` is there and must not be replaced,
    /// [`FsError::WrongKind`] if it is no folder, [`FsError::Io`].
    pub fn open(target: impl AsRef<Path>, existing: Existing) -> Result<Self, FsError> {
        let (target, path) = (target.as_ref().to_path_buf(), staging_path(target.as_ref())?);
        check_target(&target, existing, "a folder", fs::Metadata::is_dir)?;
        fs::create_dir_all(parent(&target)).map_err(FsError::io("create", parent(&target)))?;
        check_target(&path, Existing::Replace, "a folder", fs::Metadata::is_dir)?;
        loop {
            let keep = match fs::create_dir(&path) {
                Ok(()) => false,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => true,
                Err(error) => return Err(FsError::io("create a folder beside", &target)(error)),
            };
            if let Some(lock) = lock(&path)? {
                return Ok(Self { target, path, existing, _lock: lock, keep });
            }
        }
    }

    /// Whether an earlier process left a folder, and whether one is at it now.
    pub fn left_over(target: impl AsRef<Path>) -> LeftOver {
        let Ok(path) = staging_path(target.as_ref()) else { return LeftOver::Nothing };
        match lock(&path) {
            Ok(Some(_)) => LeftOver::Idle(path),
            Err(FsError::Busy(_)) => LeftOver::Busy(path),
            _ => LeftOver::Nothing,
        }
    }

    /// The folder to write into.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Decides whether the folder outlives `self`.
    pub fn keep(&mut self, keep: bool) {
        self.keep = keep;
    }

    /// Removes every entry but those `wanted`.
    ///
    /// # Errors
    /// [`FsError::Io`].
    pub fn clear(&self, wanted: impl Fn(&str) -> bool) -> Result<(), FsError> {
        for entry in fs::read_dir(&self.path).map_err(FsError::io("list", &self.path))? {
            let entry = entry.map_err(FsError::io("list", &self.path))?;
            if entry.file_name().to_str().is_some_and(&wanted) {
                continue;
            }
            let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if folder { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
            removed.map_err(FsError::io("remove", entry.path()))?;
        }
        Ok(())
    }

    /// Syncs every file and folder in it, then moves it to its name; an old folder is swapped out in one step and deleted.
    ///
    /// # Errors
    /// [`FsError::Exists`] if somebody made the target meanwhile, or [`FsError::Io`].
    pub fn commit(mut self) -> Result<(), FsError> {
        if into_place(&self.path, &self.target, self.existing)? {
            self.keep = true;
            return fs::remove_dir_all(&self.path).map_err(FsError::io("remove the old", &self.target));
        }
        self.keep = true;
        Ok(())
    }
}

impl Drop for StagedDir {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// `.NAME.partial` beside a target.
fn staging_path(target: &Path) -> Result<PathBuf, FsError> {
    let nameless = || FsError::WrongKind { path: target.to_path_buf(), expected: "the name of a new folder" };
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().ok_or_else(nameless)?);
    name.push(".partial");
    Ok(parent(target).join(name))
}

/// Locks a folder; none where it is absent or was removed by its owner in the meantime.
fn lock(path: &Path) -> Result<Option<File>, FsError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FsError::io("open", path)(error)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(FsError::Busy(path.to_path_buf())),
        Err(TryLockError::Error(error)) => return Err(FsError::io("lock", path)(error)),
    }
    let number = |metadata: std::io::Result<fs::Metadata>| metadata.ok().map(|found| (found.dev(), found.ino()));
    let same = number(file.metadata()).is_some_and(|own| number(fs::metadata(path)) == Some(own));
    Ok(same.then_some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_and_nothing_is_left_unless_kept() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("deep/out");
        let mut first = StagedDir::open(&target, Existing::Refuse).unwrap();
        assert_eq!(first.path().file_name().unwrap(), ".out.partial");
        assert!(matches!(StagedDir::open(&target, Existing::Refuse), Err(FsError::Busy(_))));
        assert!(matches!(StagedDir::left_over(&target), LeftOver::Busy(_)));
        fs::write(first.path().join("a"), "1").unwrap();
        fs::write(first.path().join("b"), "2").unwrap();
        first.keep(true);
        drop(first);
        assert!(matches!(StagedDir::left_over(&target), LeftOver::Idle(_)));
        let second = StagedDir::open(&target, Existing::Refuse).unwrap();
        second.clear(|name| name == "a").unwrap();
        second.commit().unwrap();
        assert_eq!(StagedDir::left_over(&target), LeftOver::Nothing);
        assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
        assert!(matches!(StagedDir::open(&target, Existing::Refuse), Err(FsError::Exists(_))));
        let third = StagedDir::open(&target, Existing::Replace).unwrap();
        fs::write(third.path().join("c"), "3").unwrap();
        third.commit().unwrap();
        assert!(target.join("c").exists() && !target.join("a").exists());
        drop(StagedDir::open(&target, Existing::Replace).unwrap());
        assert_eq!(fs::read_dir(target.parent().unwrap()).unwrap().count(), 1);
        assert!(matches!(StagedDir::open("..", Existing::Replace), Err(FsError::WrongKind { .. })));
    }
}
