//! Writes safetensors files of any size with no tensor in memory: the header first, from names, types and shapes, then the bytes
//! tensor by tensor, in the order of the header.
//!
//! The header is the `safetensors` crate's own; its writers want all tensors at hand or sort them by type and name.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

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
    /// Up to where the system has been told to begin writing to the disk.
    flushed: u64,
}

/// How many bytes are written before the disk is set to work on them.
const WRITEBACK: u64 = 64 << 20;

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
        Ok(Self { path: path.to_path_buf(), file, expected, written: 0, length: header.len() as u64, flushed: 0 })
    }

    /// Appends bytes of the tensor whose turn it is, little-endian.
    ///
    /// # Errors
    /// [`ConvertError::Io`], a full disk among them.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(ConvertError::io(&self.path))?;
        self.written += bytes.len() as u64;
        self.length += bytes.len() as u64;
        if self.length - self.flushed >= WRITEBACK {
            start_writeback(&self.file, self.flushed, self.length - self.flushed);
            self.flushed = self.length;
        }
        Ok(())
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

/// Asks the system to begin writing a range to the disk, so that the sync at the end finds little left. A hint: the sync is what
/// makes the file durable and what reports errors.
fn start_writeback(file: &File, offset: u64, length: u64) {
    use std::os::fd::AsRawFd;
    // SAFETY: the descriptor is open for the whole call, which touches no memory.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset as i64, length as i64, libc::SYNC_FILE_RANGE_WRITE) };
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
