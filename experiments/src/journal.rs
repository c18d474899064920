//! A file of JSON lines that grows: each line is durable before the next is written, and a torn last line is no line.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use coppice_models::fs::sync_dir;
use serde_json::Value;

/// Where a line stands: start and length without its line feed, bytes.
pub type Place = (u64, usize);

/// A journal that is open, and locked against other processes.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    end: u64,
}

impl Journal {
    /// `.NAME.journal` beside an output.
    pub fn path_of(output: &Path) -> Result<PathBuf> {
        let name = output.file_name().ok_or_else(|| anyhow!("{} names no file", output.display()))?;
        Ok(output.with_file_name(format!(".{}.journal", name.to_string_lossy())))
    }

    /// Opens the journal of an output, and makes it where it is not there.
    ///
    /// # Errors
    /// When the folder cannot be written, or another process has it open.
    pub fn open(output: &Path) -> Result<Self> {
        let path = Self::path_of(output)?;
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => bail!("{} is being written by another process", output.display()),
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
        sync_dir(output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        Ok(Self { path, file, end: 0 })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All whole lines; what follows the last of them is cut away.
    pub fn recover(&mut self) -> Result<Vec<(Place, Value)>> {
        let lines = self.file.seek(SeekFrom::Start(0)).and_then(|_| whole_lines(&self.file));
        let lines = lines.with_context(|| format!("cannot read {}", self.path.display()))?;
        self.cut(lines.last().map_or(0, |((start, length), _)| start + *length as u64 + 1))?;
        Ok(lines)
    }

    /// Cuts the journal off.
    pub fn cut(&mut self, end: u64) -> Result<()> {
        self.end = end;
        self.file.set_len(end).with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Appends a line; when this returns, not even a crash loses it.
    pub fn append(&mut self, line: &Value) -> Result<Place> {
        let mut bytes = line.to_string().into_bytes();
        bytes.push(b'\n');
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        written.with_context(|| format!("cannot write {}", self.path.display()))?;
        let start = self.end;
        self.end += bytes.len() as u64;
        Ok((start, bytes.len() - 1))
    }

    /// The bytes of a line.
    pub fn read(&mut self, (start, length): Place) -> Result<Vec<u8>> {
        let mut line = vec![0; length];
        let read = self.file.seek(SeekFrom::Start(start)).and_then(|_| self.file.read_exact(&mut line));
        read.with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(line)
    }

    /// Removes the file.
    pub fn remove(&self) -> Result<()> {
        fs::remove_file(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))
    }
}

/// Lines of JSON that end with a line feed, with their places: the last may have been torn by a crash, and nothing counts after one that is no JSON.
pub fn whole_lines(file: &File) -> io::Result<Vec<(Place, Value)>> {
    let (mut reader, mut start, mut lines) = (BufReader::new(file), 0, Vec::new());
    loop {
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line)?;
        let whole = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok());
        let Some(value) = whole else { return Ok(lines) };
        lines.push(((start, read - 1), value));
        start += read as u64;
    }
}
