//! Writes that are whole or absent: a temporary sibling, fsync, rename, fsync of the folder.
//!
//! A reader never sees half a file, and a crash leaves either the old content or the new. [`write_atomic`] takes bytes at hand,
//! [`AtomicFile`] a stream, [`AtomicDir`] a folder of many files, [`StagedDir`] one whose making can be resumed.

use std::fs::{self, File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

mod dir;
mod staged;

pub use dir::AtomicDir;
pub use staged::{LeftOver, StagedDir};

/// Why a write did not happen. Nothing is left half-written in any case.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// The system refused an operation.
    #[error("cannot {op} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb.
        op: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The target is there already and overwriting was not asked for.
    #[error("{} exists already: choose another place, or allow overwriting", .0.display())]
    Exists(PathBuf),
    /// The target is a folder, device or pipe where a plain file belongs (or the reverse).
    #[error("{} exists and is not {expected}", path.display())]
    WrongKind {
        /// The target.
        path: PathBuf,
        /// What it would have to be.
        expected: &'static str,
    },
    /// Another process is writing the same target.
    #[error("{} is being written by another process", .0.display())]
    Busy(PathBuf),
    /// Less room than the write needs.
    #[error("{} bytes are needed below {} and {free} are free", needed, path.display())]
    NoSpace {
        /// A path on the disk in question.
        path: PathBuf,
        /// Bytes about to be written.
        needed: u64,
        /// Bytes an unprivileged user may still write.
        free: u64,
    },
}

impl FsError {
    /// Names the operation and path an I/O error belongs to.
    pub fn io(op: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { op, path, source }
    }
}

impl From<FsError> for crate::Error {
    fn from(error: FsError) -> Self {
        match error {
            FsError::Io { path, source, .. } => Self::Io { path, source },
            other => Self::Input(other.to_string()),
        }
    }
}

/// Whether a target that is there already may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// An existing target is an error.
    Refuse,
    /// An existing target is replaced at the moment of the rename.
    Replace,
}

/// Writes `bytes` to `path`, replacing a plain file that is there; a symbolic link keeps standing and its target is replaced.
///
/// # Errors
/// [`FsError::Io`] or [`FsError::WrongKind`]; the old content is untouched then.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FsError> {
    let mut file = AtomicFile::create(path, Existing::Replace)?;
    file.write_all(bytes).map_err(FsError::io("write", &file.target))?;
    file.commit()
}

/// A buffered file that appears under its name only at [`AtomicFile::commit`]; dropped before that, it leaves nothing.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    existing: Existing,
    writer: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Opens a temporary file beside `path`. The folder must exist.
    ///
    /// # Errors
    /// [`FsError::Exists`] if `path` is there and must not be replaced, [`FsError::WrongKind`] if it is no plain file,
    /// [`FsError::Io`] if the folder cannot be written to.
    pub fn create(path: impl AsRef<Path>, existing: Existing) -> Result<Self, FsError> {
        let target = fs::canonicalize(&path).unwrap_or_else(|_| path.as_ref().to_path_buf());
        check_target(&target, existing, "a plain file", fs::Metadata::is_file)?;
        let mut builder = Builder::new();
        let temporary = builder.prefix(".").suffix(".tmp").permissions(Permissions::from_mode(0o666)).tempfile_in(parent(&target));
        let temporary = temporary.map_err(FsError::io("create a file beside", &target))?;
        Ok(Self { target, existing, writer: BufWriter::with_capacity(1 << 20, temporary) })
    }

    /// Makes the content durable and gives it its name.
    ///
    /// # Errors
    /// [`FsError::Io`], or [`FsError::Exists`] if somebody made the target meanwhile; the temporary file is removed.
    pub fn commit(self) -> Result<(), FsError> {
        let Self { target, existing, writer } = self;
        let temporary = writer.into_inner().map_err(|error| FsError::io("write", &target)(error.into_error()))?;
        temporary.as_file().sync_all().map_err(FsError::io("sync", &target))?;
        match existing {
            Existing::Replace => temporary.persist(&target),
            Existing::Refuse => temporary.persist_noclobber(&target),
        }
        .map_err(|error| renamed(&target, error.error))?;
        sync_dir(parent(&target))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

/// Refuses a write of `needed` bytes that the disk below `path` has no room for. `path` need not exist yet.
///
/// # Errors
/// [`FsError::NoSpace`], or [`FsError::Io`] if the disk cannot be asked.
pub fn check_free_space(path: impl AsRef<Path>, needed: u64) -> Result<(), FsError> {
    let path = path.as_ref();
    let free = free_space(path)?;
    if free < needed { Err(FsError::NoSpace { path: path.to_path_buf(), needed, free }) } else { Ok(()) }
}

/// Bytes an unprivileged user may still write on the disk that holds `path` or its nearest existing ancestor.
///
/// # Errors
/// [`FsError::Io`] if the disk cannot be asked.
pub fn free_space(path: impl AsRef<Path>) -> Result<u64, FsError> {
    let path = path.as_ref();
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
    let disk = rustix::fs::statvfs(existing).map_err(|errno| FsError::io("ask the free space of", path)(errno.into()))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Makes the renames and new names in a folder durable.
///
/// # Errors
/// [`FsError::Io`] if the folder cannot be opened or synced.
pub fn sync_dir(folder: impl AsRef<Path>) -> Result<(), FsError> {
    let folder = folder.as_ref();
    File::open(folder).and_then(|handle| handle.sync_all()).map_err(FsError::io("sync", folder))
}

fn check_target(path: &Path, existing: Existing, expected: &'static str, fits: fn(&fs::Metadata) -> bool) -> Result<(), FsError> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(_) if existing == Existing::Refuse => Err(FsError::Exists(path.to_path_buf())),
        Ok(found) if fits(&found) => Ok(()),
        Ok(_) => Err(FsError::WrongKind { path: path.to_path_buf(), expected }),
    }
}

fn renamed(target: &Path, source: std::io::Error) -> FsError {
    let there = matches!(source.kind(), std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::DirectoryNotEmpty);
    if there { FsError::Exists(target.to_path_buf()) } else { FsError::io("rename to", target)(source) }
}

/// The folder a path lies in; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
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
    fn a_file_is_whole_or_absent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        drop(AtomicFile::create(&path, Existing::Refuse).unwrap());
        assert!(names(folder.path()).is_empty());
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(folder.path()), ["a.json"]);
        assert!(matches!(AtomicFile::create(&path, Existing::Refuse), Err(FsError::Exists(_))));
        assert!(matches!(write_atomic(folder.path(), b""), Err(FsError::WrongKind { .. })));
    }

    #[test]
    fn a_link_stays_and_a_device_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        write_atomic(&file, b"old").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        write_atomic(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(matches!(write_atomic("/dev/null", b""), Err(FsError::WrongKind { .. })));
    }

    #[test]
    fn a_target_made_meanwhile_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let file = AtomicFile::create(&path, Existing::Refuse).unwrap();
        fs::write(&path, b"theirs").unwrap();
        assert!(matches!(file.commit(), Err(FsError::Exists(_))));
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn space_is_asked_of_the_nearest_ancestor() {
        let root = tempfile::tempdir().unwrap();
        assert!(check_free_space(root.path().join("not/yet"), 1).is_ok());
        assert!(matches!(check_free_space(root.path(), u64::MAX), Err(FsError::NoSpace { .. })));
    }
}
