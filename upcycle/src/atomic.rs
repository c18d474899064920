//! Whole files or none: temporary file beside the target, write, fsync, rename, fsync of the folder.

use std::fs::{File, Permissions};
use std::io::{BufWriter, Result, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Writes `path` by `body`, so that a reader finds either the old file or the whole new one. Returns what `body` returns.
///
/// # Errors
/// The system's, or `body`'s; the temporary file is gone then and the old file untouched.
pub fn write<T>(path: &Path, body: impl FnOnce(&mut BufWriter<&File>) -> Result<T>) -> Result<T> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new().prefix(".writing-").permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
    let mut buffer = BufWriter::new(temporary.as_file());
    let value = body(&mut buffer)?;
    buffer.flush()?;
    drop(buffer);
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|failed| failed.error)?;
    File::open(folder)?.sync_all()?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, |file| file.write_all(b"old")).unwrap();
        let failed = write(&path, |file| file.write_all(b"new").and(Err::<(), _>(std::io::Error::other("no"))));
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
