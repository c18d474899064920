//! Writes safetensors files of any size with no tensor in memory: the header first, from names, types and shapes, then the bytes of
//! each tensor at its place, by as many threads as there are.
//!
//! The header is the `safetensors` crate's own; its writers want all tensors at hand or sort them by type and name. The data starts at a
//! multiple of [`ALIGNMENT`] bytes, so that a file can be used where it is mapped.

use std::fs::File;
use std::io::Write;
use std::num::NonZeroU64;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};
use rustix::io::Errno;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::convert::error::{ConvertError, Result};

/// Where the data of a file starts, in bytes: a line of the processor's cache, and more than any element needs.
pub const ALIGNMENT: usize = 64;

/// Name, element type and shape of a tensor to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorHeader {
    /// Full name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Shape, outermost dimension first.
    pub shape: Vec<usize>,
}

impl TensorHeader {
    /// Size of the tensor in bytes.
    pub fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// A safetensors file being written.
#[derive(Debug)]
pub struct SafetensorsWriter {
    path: PathBuf,
    file: File,
    /// Where each tensor starts in the file.
    starts: Vec<u64>,
    /// Bytes of the file, header included.
    length: u64,
    windows: Mutex<Windows>,
}

/// Parts of the file, each by where it starts and how long it is.
type Ranges = Vec<(u64, u64)>;

/// Ranges of the file on their way to the disk.
#[derive(Debug, Default)]
struct Windows {
    /// Written, the disk not yet asked.
    filling: Ranges,
    /// Bytes of them.
    filled: u64,
    /// The disk is at work on them.
    started: Ranges,
}

/// How many bytes are handed to the disk at a time. One window is written while the next is filled, so that a file larger than
/// memory neither drives everything else out of the cache nor leaves its writing to the last sync.
const WINDOW: u64 = 64 << 20;

/// Start what has not been started, and wait.
const ALL_OF_IT: u32 = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;

impl SafetensorsWriter {
    /// Creates `path`, which must not exist, writes the header and takes the room for the data.
    ///
    /// # Errors
    /// [`ConvertError::Io`] when the file exists or cannot be written, a full disk among the reasons.
    pub fn create(path: &Path, tensors: &[TensorHeader]) -> Result<Self> {
        let header = header(tensors).map_err(|error| ConvertError::io(path)(std::io::Error::other(error)))?;
        let mut file = File::create_new(path).map_err(ConvertError::io(path))?;
        file.write_all(&header).map_err(ConvertError::io(path))?;
        let mut length = header.len() as u64;
        let mut starts = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            starts.push(length);
            length += tensor.bytes() as u64;
        }
        reserve(&file, length).map_err(ConvertError::io(path))?;
        Ok(Self { path: path.to_path_buf(), file, starts, length, windows: Mutex::default() })
    }

    /// Writes bytes of the tensor `index` of the header from its byte `offset` on, little-endian.
    ///
    /// # Errors
    /// [`ConvertError::Io`].
    pub fn write_at(&self, index: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let start = self.starts[index] + offset;
        self.file.write_all_at(bytes, start).map_err(ConvertError::io(&self.path))?;
        if let Some((filled, started)) = self.turn_window(start, bytes.len() as u64) {
            self.hand_over(&filled, &started);
        }
        Ok(())
    }

    /// Notes a written range; a full window comes out with the one before it.
    fn turn_window(&self, start: u64, length: u64) -> Option<(Ranges, Ranges)> {
        let mut windows = self.windows.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match windows.filling.last_mut() {
            Some(last) if last.0 + last.1 == start => last.1 += length,
            _ => windows.filling.push((start, length)),
        }
        windows.filled += length;
        if windows.filled < WINDOW {
            return None;
        }
        windows.filled = 0;
        let filled = std::mem::take(&mut windows.filling);
        let started = std::mem::replace(&mut windows.started, filled.clone());
        Some((filled, started))
    }

    /// Sets the disk to work on the newest window, waits for the one before and lets go of its cached pages.
    ///
    /// Hints all: the sync at the end is what makes the file durable and what reports errors.
    fn hand_over(&self, filled: &[(u64, u64)], started: &[(u64, u64)]) {
        for &(start, length) in filled {
            writeback(&self.file, start, length, libc::SYNC_FILE_RANGE_WRITE);
        }
        for &(start, length) in started {
            writeback(&self.file, start, length, ALL_OF_IT);
            let _ = fadvise(&self.file, start, NonZeroU64::new(length), Advice::DontNeed);
        }
    }

    /// Makes the file durable and returns its size in bytes. That every tensor was written whole is the caller's to know.
    ///
    /// # Errors
    /// [`ConvertError::Io`].
    pub fn finish(self) -> Result<u64> {
        self.file.sync_all().map_err(ConvertError::io(&self.path))?;
        Ok(self.length)
    }
}

/// Takes room on the disk; where the file system cannot, only the length is set and a full disk shows later.
fn reserve(file: &File, length: u64) -> std::io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, length) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(length),
        Err(errno) => Err(errno.into()),
    }
}

/// The header's length (u64, little-endian) and its JSON, padded with spaces so that the data is aligned.
fn header(tensors: &[TensorHeader]) -> std::result::Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let mut end = 0;
    let infos = tensors.iter().map(|tensor| {
        let start = end;
        end += tensor.bytes();
        let info = TensorInfo { dtype: tensor.dtype, shape: tensor.shape.clone(), data_offsets: (start, end) };
        (tensor.name.clone(), info)
    });
    let infos = infos.collect();
    let metadata = Metadata::new(Some([("format".to_owned(), "pt".to_owned())].into()), infos)?;
    let mut json = serde_json::to_vec(&metadata)?;
    json.resize((json.len() + 8).next_multiple_of(ALIGNMENT) - 8, b' ');
    Ok([&(json.len() as u64).to_le_bytes()[..], &json].concat())
}

/// `sync_file_range(2)` on a range of bytes.
fn writeback(file: &File, offset: u64, length: u64, flags: u32) {
    // SAFETY: the descriptor is open for the whole call, which touches no memory.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset as i64, length as i64, flags) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    fn tensor(name: &str, dtype: Dtype, shape: &[usize]) -> TensorHeader {
        TensorHeader { name: name.into(), dtype, shape: shape.to_vec() }
    }

    #[test]
    fn the_crate_reads_back_what_was_written_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let tensors = [tensor("z", Dtype::F32, &[2, 3]), tensor("a", Dtype::BF16, &[3]), tensor("empty", Dtype::F16, &[0, 4])];
        let writer = SafetensorsWriter::create(&path, &tensors).unwrap();
        writer.write_at(1, 4, &[3; 2]).unwrap();
        writer.write_at(0, 0, &[1; 24]).unwrap();
        writer.write_at(1, 0, &[2; 4]).unwrap();
        let length = writer.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, length);
        assert_eq!((8 + u64::from_le_bytes(bytes[..8].try_into().unwrap())) % 64, 0);
        let read = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(read.tensor("z").unwrap().data(), [1; 24]);
        assert_eq!(read.tensor("z").unwrap().shape(), [2, 3]);
        assert_eq!(read.tensor("a").unwrap().data(), [2, 2, 2, 2, 3, 3]);
        assert_eq!(read.tensor("empty").unwrap().shape(), [0, 4]);
        assert!(matches!(SafetensorsWriter::create(&path, &[]), Err(ConvertError::Io { .. })));
    }

    #[test]
    fn windows_cover_every_byte_once() {
        let folder = tempfile::tempdir().unwrap();
        let writer = SafetensorsWriter::create(&folder.path().join("a"), &[tensor("z", Dtype::F32, &[1])]).unwrap();
        assert_eq!(writer.turn_window(0, WINDOW / 2), None);
        assert_eq!(writer.turn_window(WINDOW, WINDOW / 4), None);
        let first = vec![(0, WINDOW / 2), (WINDOW, WINDOW / 2)];
        assert_eq!(writer.turn_window(WINDOW + WINDOW / 4, WINDOW / 4), Some((first.clone(), vec![])));
        assert_eq!(writer.turn_window(9, WINDOW), Some((vec![(9, WINDOW)], first)));
    }
}
