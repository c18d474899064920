//! Writes safetensors files of any size with no tensor in memory: the header first, from names, types and shapes, then the bytes
//! tensor by tensor, in the order of the header.
//!
//! The header is the `safetensors` crate's own; its writers want all tensors at hand or sort them by type and name.

use std::fs::File;
use std::io::Write;
use std::num::NonZeroU64;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::convert::error::{ConvertError, Result};

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
    /// Bytes of tensors the header states.
    expected: u64,
    /// Bytes of tensors written.
    written: u64,
    /// Bytes of the file, header included.
    length: u64,
    /// Up to where the disk has been set to work.
    started: u64,
    /// Up to where the disk is done.
    finished: u64,
}

/// How many bytes are handed to the disk at a time. One window is written while the next is filled, so that a file larger than
/// memory neither drives everything else out of the cache nor leaves its writing to the last sync.
const WINDOW: u64 = 64 << 20;

/// Start what has not been started, and wait.
const ALL_OF_IT: u32 = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;

impl SafetensorsWriter {
    /// Creates `path`, which must not exist, and writes the header.
    ///
    /// # Errors
    /// [`ConvertError::Io`] when the file exists or cannot be written.
    pub fn create(path: &Path, tensors: &[TensorHeader]) -> Result<Self> {
        let header = header(tensors).map_err(|error| ConvertError::io(path)(std::io::Error::other(error)))?;
        let mut file = File::create_new(path).map_err(ConvertError::io(path))?;
        file.write_all(&header).map_err(ConvertError::io(path))?;
        let expected = tensors.iter().map(|tensor| tensor.bytes() as u64).sum();
        Ok(Self { path: path.to_path_buf(), file, expected, written: 0, length: header.len() as u64, started: 0, finished: 0 })
    }

    /// Appends bytes of the tensor whose turn it is, little-endian.
    ///
    /// # Errors
    /// [`ConvertError::Io`], a full disk among them.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(ConvertError::io(&self.path))?;
        self.written += bytes.len() as u64;
        self.length += bytes.len() as u64;
        if self.length - self.started >= WINDOW {
            self.turn_window();
        }
        Ok(())
    }

    /// Sets the disk to work on the newest window, waits for the one before and lets go of its cached pages.
    ///
    /// Hints all: the sync at the end is what makes the file durable and what reports errors.
    fn turn_window(&mut self) {
        let (start, length) = (self.started, self.length - self.started);
        writeback(&self.file, start, length, libc::SYNC_FILE_RANGE_WRITE);
        let before = start - self.finished;
        writeback(&self.file, self.finished, before, ALL_OF_IT);
        if let Some(before) = NonZeroU64::new(before) {
            let _ = fadvise(&self.file, self.finished, Some(before), Advice::DontNeed);
        }
        (self.finished, self.started) = (start, self.length);
    }

    /// Makes the file durable and returns its size in bytes.
    ///
    /// # Errors
    /// [`ConvertError::Length`] when the tensors are not as long as the header states, [`ConvertError::Io`].
    pub fn finish(self) -> Result<u64> {
        let Self { path, expected, written, .. } = self;
        if written != expected {
            return Err(ConvertError::Length { path, expected, found: written });
        }
        self.file.sync_all().map_err(ConvertError::io(&path))?;
        Ok(self.length)
    }
}

/// The header's length (u64, little-endian) and its JSON, padded with spaces to a multiple of 8.
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
    json.resize(json.len().next_multiple_of(8), b' ');
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
    fn the_crate_reads_back_what_was_streamed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let tensors = [tensor("z", Dtype::F32, &[2, 3]), tensor("a", Dtype::BF16, &[3]), tensor("empty", Dtype::F16, &[0, 4])];
        let mut writer = SafetensorsWriter::create(&path, &tensors).unwrap();
        writer.write(&[1; 24]).unwrap();
        writer.write(&[2; 4]).unwrap();
        writer.write(&[3; 2]).unwrap();
        let length = writer.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, length);
        let read = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(read.tensor("z").unwrap().data(), [1; 24]);
        assert_eq!(read.tensor("z").unwrap().shape(), [2, 3]);
        assert_eq!(read.tensor("a").unwrap().data(), [2, 2, 2, 2, 3, 3]);
        assert_eq!(read.tensor("a").unwrap().data().as_ptr() as usize % 2, bytes.as_ptr() as usize % 2);
        assert_eq!(read.tensor("empty").unwrap().shape(), [0, 4]);
    }

    #[test]
    fn a_header_that_promises_other_sizes_is_caught() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let mut writer = SafetensorsWriter::create(&path, &[tensor("z", Dtype::F32, &[2])]).unwrap();
        writer.write(&[0; 4]).unwrap();
        assert!(matches!(writer.finish(), Err(ConvertError::Length { expected: 8, found: 4, .. })));
        assert!(matches!(SafetensorsWriter::create(&path, &[]), Err(ConvertError::Io { .. })));
    }
}
