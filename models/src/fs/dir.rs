//! A folder of many files that appears at once.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use tempfile::{Builder, TempDir};

use super::{Existing, FsError, check_target, parent, renamed, sync_dir};

/// A folder built under a temporary sibling name; dropped before [`AtomicDir::commit`], it leaves nothing.
#[derive(Debug)]
pub struct AtomicDir {
    target: PathBuf,
    existing: Existing,
    temporary: TempDir,
}

impl AtomicDir {
    /// Makes an empty temporary folder beside `target`, creating the parents.
    ///
    /// # Errors
    /// [`FsError::Exists`] if `target` is there and must not be replaced, [`FsError::WrongKind`] if it is no folder, [`FsError::Io`].
    pub fn create(target: impl AsRef<Path>, existing: Existing) -> Result<Self, FsError> {
        let target = target.as_ref().to_path_buf();
        check_target(&target, existing, "a folder", fs::Metadata::is_dir)?;
        fs::create_dir_all(parent(&target)).map_err(FsError::io("create", parent(&target)))?;
        let mut builder = Builder::new();
        let temporary = builder.prefix(".").suffix(".tmp").permissions(Permissions::from_mode(0o777)).tempdir_in(parent(&target));
        let temporary = temporary.map_err(FsError::io("create a folder beside", &target))?;
        Ok(Self { target, existing, temporary })
    }

    /// The folder to write into.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Syncs every file and folder in it, then moves it to its name. With [`Existing::Replace`] the old folder is swapped out in
    /// one step and then deleted.
    ///
    /// # Errors
    /// [`FsError::Exists`] if somebody made the target meanwhile, or [`FsError::Io`] (a file system without `renameat2` among them).
    pub fn commit(self) -> Result<(), FsError> {
        let swap = into_place(self.path(), &self.target, self.existing)?;
        if swap {
            return self.temporary.close().map_err(FsError::io("remove the old", &self.target));
        }
        let _moved_away = self.temporary.keep();
        Ok(())
    }
}

/// Syncs `from` and moves it to `target` in one step. True: an old folder was swapped out and now stands at `from`.
pub(super) fn into_place(from: &Path, target: &Path, existing: Existing) -> Result<bool, FsError> {
    sync_tree(from)?;
    let swap = existing == Existing::Replace && target.exists();
    let flags = if swap { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    rustix::fs::renameat_with(CWD, from, CWD, target, flags).map_err(|errno| renamed(target, errno.into()))?;
    sync_dir(parent(target))?;
    Ok(swap)
}

fn sync_tree(folder: &Path) -> Result<(), FsError> {
    for entry in fs::read_dir(folder).map_err(FsError::io("list", folder))? {
        let entry = entry.map_err(FsError::io("list", folder))?;
        let kind = entry.file_type().map_err(FsError::io("inspect", entry.path()))?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            sync_dir(entry.path())?;
        }
    }
    sync_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_appears_at_once_and_is_replaced_only_on_request() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("deep/out");
        let first = AtomicDir::create(&target, Existing::Refuse).unwrap();
        fs::create_dir(first.path().join("sub")).unwrap();
        fs::write(first.path().join("sub/x"), b"1").unwrap();
        assert!(!target.exists());
        first.commit().unwrap();
        assert!(matches!(AtomicDir::create(&target, Existing::Refuse), Err(FsError::Exists(_))));
        let second = AtomicDir::create(&target, Existing::Replace).unwrap();
        fs::write(second.path().join("y"), b"2").unwrap();
        second.commit().unwrap();
        assert_eq!(names(&target), ["y"]);
        drop(AtomicDir::create(&target, Existing::Replace).unwrap());
        assert_eq!(names(target.parent().unwrap()), ["out"]);
    }
}
