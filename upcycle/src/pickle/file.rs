//! An opened file: mapped, its program run, its tensors read when they are asked for.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use memmap2::{Mmap, MmapOptions, UncheckedAdvice};
use tch::{Kind, Tensor};

use super::archive::{Entry, entries, verify};
use super::error::{Fault, PickleError};
use super::machine::run;
use super::tensor::StoredTensor;
use super::value::{Document, Value};

type Result<T> = std::result::Result<T, PickleError>;

/// Longest program that is run. That of an optimizer state names parameters and sizes: a few hundred kilobytes.
const LONGEST: usize = 16 << 20;

/// A file of `torch.save`, opened without executing anything. However large it is, only what is asked for is read.
#[derive(Debug)]
pub struct TorchFile {
    path: PathBuf,
    map: Mmap,
    document: Document,
    entries: HashMap<String, Entry>,  // by name below the archive's folder
    verified: Mutex<HashSet<String>>, // storages whose checksum was found right
}

impl TorchFile {
    /// Opens a file and runs its program.
    ///
    /// # Errors
    /// One sentence for a file that cannot be mapped, is no whole archive of `torch.save`, is damaged, or whose program names a class or
    /// does anything that is not known.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let map = mapped(&path).map_err(|source| PickleError::Io { path: path.clone(), source })?;
        let (entries, program) = inside(&map).map_err(|reason| PickleError::archive(&path, reason))?;
        let document = run(&map[program]).map_err(|(fault, at)| fault.of(&path, at))?;
        Ok(Self { path, map, document, entries, verified: Mutex::default() })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value that was saved.
    pub fn root(&self) -> Value<'_> {
        Value::root(&self.document)
    }

    /// A copy of a tensor of this file on the CPU, in the given type.
    ///
    /// # Errors
    /// When its storage is absent, of another size than the program says, or damaged.
    pub fn read(&self, tensor: &StoredTensor, kind: Kind) -> Result<Tensor> {
        let numbers = self.numbers(tensor, 0..tensor.span())?;
        let strided = numbers.f_as_strided(&tensor.size[..], &tensor.stride[..], 0)?;
        self.owned(&strided, kind)
    }

    /// A copy of the elements in a `range` of a tensor that lies contiguous, as a vector on the CPU in the given type.
    ///
    /// # Errors
    /// As [`TorchFile::read`], and when the tensor is not contiguous or ends before the range does.
    pub fn read_flat(&self, tensor: &StoredTensor, range: Range<usize>, kind: Kind) -> Result<Tensor> {
        if !tensor.is_contiguous() || range.start > range.end || range.end > tensor.numel() {
            let reason = format!("elements {range:?} are asked of a tensor of shape {:?} and strides {:?}", tensor.size, tensor.stride);
            return Err(Fault::Program(reason).of(&self.path, 0));
        }
        let numbers = self.numbers(tensor, range)?;
        self.owned(&numbers, kind)
    }

    /// The tensor in another type, and its pages given back to the system.
    fn owned(&self, tensor: &Tensor, kind: Kind) -> Result<Tensor> {
        let owned = tensor.f_to_kind(kind)?.f_contiguous()?;
        // SAFETY: the mapping is private, read-only and file-backed, so dropped pages come back unchanged.
        let advised = unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) };
        advised.map_err(|source| PickleError::Io { path: self.path.clone(), source })?;
        Ok(owned)
    }

    /// Numbers of a tensor's storage, counted from the tensor's first, as a vector of their own type.
    fn numbers(&self, tensor: &StoredTensor, range: Range<usize>) -> Result<Tensor> {
        let (bytes, width) = (self.storage(tensor)?, tensor.kind().elt_size_in_bytes());
        let at = |number: usize| (tensor.offset + number) * width;
        let taken = &bytes[at(range.start)..at(range.end)];
        Ok(Tensor::f_from_data_size(taken, &[range.len() as i64], tensor.kind())?)
    }

    /// The bytes of a tensor's storage, of the size the program says.
    fn storage(&self, tensor: &StoredTensor) -> Result<&[u8]> {
        let storage = &tensor.storage;
        let name = format!("data/{}", storage.key);
        let refuse = |reason: String| Err(PickleError::archive(&self.path, reason));
        let Some(entry) = self.entries.get(&name) else { return refuse(format!("entry {name} is absent")) };
        let expected = storage.numel.checked_mul(storage.kind.elt_size_in_bytes());
        if expected != Some(entry.bytes.len()) {
            return refuse(format!("entry {name} has {} bytes, expected {} of {:?}", entry.bytes.len(), storage.numel, storage.kind));
        }
        let mut verified = self.verified.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !verified.contains(&name) {
            verify(&self.map, entry).map_err(|reason| PickleError::archive(&self.path, format!("entry {name}: {reason}")))?;
            verified.insert(name);
        }
        Ok(&self.map[entry.bytes.clone()])
    }
}

fn mapped(path: &Path) -> std::io::Result<Mmap> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("not a plain file"));
    }
    // SAFETY: private and read-only; a file that is truncated while it is mapped is beyond any reader's reach.
    unsafe { MmapOptions::new().map_copy_read_only(&file) }
}

/// The entries below the archive's one folder, and where its program lies.
fn inside(file: &[u8]) -> std::result::Result<(HashMap<String, Entry>, Range<usize>), String> {
    let all = entries(file)?;
    let folders: Vec<String> = all.keys().filter_map(|name| name.strip_suffix("data.pkl")).map(str::to_owned).collect();
    let [folder] = &folders[..] else { return Err(format!("{} entries are called data.pkl, expected one", folders.len())) };
    let below = all.into_iter().filter_map(|(name, entry)| Some((name.strip_prefix(folder.as_str())?.to_owned(), entry)));
    let below: HashMap<String, Entry> = below.collect();
    let order = below.get("byteorder").map(|entry| &file[entry.bytes.clone()]);
    if order.is_some_and(|order| order != b"little") {
        return Err("its numbers are not little-endian".into());
    }
    let program = &below["data.pkl"];
    if program.bytes.len() > LONGEST {
        return Err(format!("data.pkl has {} bytes, more than {LONGEST}", program.bytes.len()));
    }
    verify(file, program).map_err(|reason| format!("data.pkl: {reason}"))?;
    Ok((below.clone(), program.bytes.clone()))
}
