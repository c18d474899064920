//! A checkpoint folder: one or many safetensors files, mapped once and read in place.
//!
//! The format's own checks (header size, offsets that overlap or leave holes) are the `safetensors` crate's; here every name, shape
//! and dtype is held against the configuration before any of it is used.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions, UncheckedAdvice};
use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::tensors::{TensorSpec, expected, is_buffer};

/// Where one tensor lies.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Element type in the file.
    pub dtype: Dtype,
    /// Shape, outermost dimension first.
    pub shape: Vec<i64>,
    file: usize,
    bytes: Range<usize>,
}

/// An opened checkpoint: its configuration and its mapped, verified tensors.
#[derive(Debug)]
pub struct Checkpoint {
    /// The folder it was opened from.
    pub folder: PathBuf,
    /// Sizes and switches.
    pub config: Config,
    files: Vec<Arc<Mmap>>,
    entries: HashMap<String, Entry>,
}

impl Checkpoint {
    /// Opens a folder in the Hugging Face layout and checks every tensor against its `config.json`.
    ///
    /// # Errors
    /// A sentence naming the file, key or tensors that are absent, malformed, unexpected or of another shape or dtype.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_path_buf();
        let config = Config::load(&folder)?;
        let mut checkpoint = Self { folder, config, files: Vec::new(), entries: HashMap::new() };
        for (path, promised) in shards(&checkpoint.folder)? {
            checkpoint.map(&path, &promised)?;
        }
        checkpoint.check(&expected(&checkpoint.config))?;
        checkpoint.config.layer_norm_bias = checkpoint.entries.contains_key("model.layers.0.input_layernorm.bias");
        Ok(checkpoint)
    }

    /// The tensor's place and form, where the file holds it.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Names of all tensors, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Size of all files in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.len() as u64).sum()
    }

    /// The element type most of the weights are stored in (that of the embedding).
    pub fn dtype(&self) -> Dtype {
        self.entries.get("model.embed_tokens.weight").map_or(Dtype::F32, |entry| entry.dtype)
    }

    /// The tensor's bytes in the mapping, little-endian.
    ///
    /// # Errors
    /// When the checkpoint has no such tensor.
    pub fn bytes(&self, name: &str) -> Result<&[u8]> {
        let entry = self.find(name)?;
        Ok(&self.files[entry.file][entry.bytes.clone()])
    }

    /// A tensor over the mapped bytes themselves, in the file's element type.
    ///
    /// # Errors
    /// When the checkpoint has no such tensor or it lies unaligned in the file.
    ///
    /// # Safety
    /// The tensor must not be used after `self` and every [`Checkpoint::mappings`] of it are dropped, and must not be written to.
    pub unsafe fn view(&self, name: &str) -> Result<Tensor> {
        let entry = self.find(name)?;
        let kind = kind_of(entry.dtype)?;
        let bytes = &self.files[entry.file][entry.bytes.clone()];
        if !(bytes.as_ptr() as usize).is_multiple_of(kind.elt_size_in_bytes()) {
            return Ok(Tensor::f_from_data_size(bytes, &entry.shape, kind)?);
        }
        // SAFETY: the range was checked by the reader against shape and dtype; the caller keeps the mapping alive.
        Ok(unsafe { Tensor::f_from_blob(bytes.as_ptr(), &entry.shape, &contiguous(&entry.shape), kind, Device::Cpu)? })
    }

    /// Equal-shaped tensors that lie one behind the other in one file, as one tensor `[names.len(), shape…]` over the mapped bytes;
    /// none where they lie apart or unaligned.
    ///
    /// # Errors
    /// When the checkpoint lacks one.
    ///
    /// # Safety
    /// As [`Checkpoint::view`].
    pub unsafe fn view_packed(&self, names: &[String]) -> Result<Option<Tensor>> {
        let entries = names.iter().map(|name| self.find(name)).collect::<Result<Vec<_>>>()?;
        let follows = |pair: &[&Entry]| {
            let (a, b) = (pair[0], pair[1]);
            a.file == b.file && a.bytes.end == b.bytes.start && a.shape == b.shape && a.dtype == b.dtype
        };
        let Some(first) = entries.first().filter(|_| entries.windows(2).all(follows)) else { return Ok(None) };
        let (kind, start) = (kind_of(first.dtype)?, self.files[first.file][first.bytes.clone()].as_ptr());
        if !(start as usize).is_multiple_of(kind.elt_size_in_bytes()) {
            return Ok(None);
        }
        let shape: Vec<i64> = std::iter::once(names.len() as i64).chain(first.shape.iter().copied()).collect();
        // SAFETY: the ranges were checked by the reader and are one range; the caller keeps the mapping alive.
        Ok(Some(unsafe { Tensor::f_from_blob(start, &shape, &contiguous(&shape), kind, Device::Cpu)? }))
    }

    /// An owned copy of a tensor, converted to `kind` on `device`; the mapped pages are given back.
    ///
    /// # Errors
    /// When the checkpoint has no such tensor or libtorch cannot convert it.
    pub fn load(&self, name: &str, kind: Kind, device: Device) -> Result<Tensor> {
        // SAFETY: the view is copied before this function returns.
        let tensor = unsafe { self.view(name)? }.f_to_device_(device, kind, false, true)?;
        self.release(name)?;
        Ok(tensor)
    }

    /// Gives the mapped pages of a tensor back to the system; a later read brings them in again.
    ///
    /// # Errors
    /// When the checkpoint has no such tensor.
    pub fn release(&self, name: &str) -> Result<()> {
        const PAGE: usize = 4096;
        let entry = self.find(name)?;
        let (start, end) = (entry.bytes.start.next_multiple_of(PAGE), entry.bytes.end / PAGE * PAGE);
        if start < end {
            let file = &self.files[entry.file];
            // SAFETY: the mapping is private, read-only and file-backed, so dropped pages come back unchanged.
            let advised = unsafe { file.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start) };
            advised.map_err(|source| Error::io(&self.folder, source))?;
        }
        Ok(())
    }

    /// Maps every page at once, so that the first pass over the weights does not stop at each of them. A hint: where the kernel does not
    /// know it, pages come in as they are touched.
    pub fn prefault(&self) {
        for file in &self.files {
            let _ = file.advise(memmap2::Advice::PopulateRead);
        }
    }

    /// The mappings that views point into, for whoever outlives the checkpoint.
    pub fn mappings(&self) -> Vec<Arc<Mmap>> {
        self.files.clone()
    }

    fn find(&self, name: &str) -> Result<&Entry> {
        self.entries.get(name).ok_or_else(|| Error::Checkpoint(format!("{}: no tensor {name}", self.folder.display())))
    }

    fn map(&mut self, path: &Path, promised: &[String]) -> Result<()> {
        let file = File::open(path).map_err(|source| Error::io(path, source))?;
        // SAFETY: private and read-only; a file that is truncated while it is mapped is beyond any reader's reach.
        let map = unsafe { MmapOptions::new().map_copy_read_only(&file) }.map_err(|source| Error::io(path, source))?;
        let tensors = SafeTensors::deserialize(&map).map_err(|error| malformed(path, &error))?;
        for (name, view) in tensors.iter() {
            let start = view.data().as_ptr() as usize - map.as_ptr() as usize;
            let shape = view.shape().iter().map(|&size| size as i64).collect();
            let entry = Entry { dtype: view.dtype(), shape, file: self.files.len(), bytes: start..start + view.data().len() };
            if self.entries.insert(name.to_owned(), entry).is_some() {
                return Err(Error::Checkpoint(format!("{}: tensor {name} stands in two files", path.display())));
            }
        }
        if let Some(absent) = promised.iter().find(|name| !self.entries.contains_key(*name)) {
            return Err(Error::Checkpoint(format!("{}: the index promises {absent} here, the file does not hold it", path.display())));
        }
        drop(tensors);
        self.files.push(Arc::new(map));
        Ok(())
    }

    fn check(&self, specs: &[TensorSpec]) -> Result<()> {
        let known: HashMap<&str, &TensorSpec> = specs.iter().map(|spec| (spec.name.as_str(), spec)).collect();
        let missing = specs.iter().filter(|spec| !spec.optional && !self.entries.contains_key(&spec.name));
        self.refuse("missing", missing.map(|spec| spec.name.as_str()).collect())?;
        let unexpected = self.names().filter(|name| !known.contains_key(name) && !is_buffer(name));
        self.refuse("unexpected", unexpected.collect())?;
        for spec in specs {
            self.entries.get(&spec.name).map_or(Ok(()), |entry| self.fits(spec, entry))?;
        }
        Ok(())
    }

    fn refuse(&self, fault: &str, mut names: Vec<&str>) -> Result<()> {
        names.sort_unstable();
        let (shown, more) = (names.iter().take(4).copied().collect::<Vec<_>>().join(", "), names.len().saturating_sub(4));
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let sentence = || format!("{}: {fault} tensors for this configuration: {shown}{more}", self.folder.display());
        if names.is_empty() { Ok(()) } else { Err(Error::Checkpoint(sentence())) }
    }

    fn fits(&self, spec: &TensorSpec, entry: &Entry) -> Result<()> {
        let (name, folder) = (&spec.name, self.folder.display());
        kind_of(entry.dtype).map_err(|_| Error::Checkpoint(format!("{folder}: {name} is {:?}, expected F32, F16 or BF16", entry.dtype)))?;
        if entry.shape == spec.shape {
            return Ok(());
        }
        Err(Error::Checkpoint(format!("{folder}: {name} has shape {:?}, the configuration asks for {:?}", entry.shape, spec.shape)))
    }
}

/// The libtorch kind of a stored element type.
///
/// # Errors
/// For anything but F32, F16 and BF16.
pub fn kind_of(dtype: Dtype) -> Result<Kind> {
    match dtype {
        Dtype::F32 => Ok(Kind::Float),
        Dtype::F16 => Ok(Kind::Half),
        Dtype::BF16 => Ok(Kind::BFloat16),
        other => Err(Error::Checkpoint(format!("dtype {other:?} is not supported (known: F32, F16, BF16)"))),
    }
}

fn malformed(path: &Path, error: &safetensors::SafeTensorError) -> Error {
    Error::Checkpoint(format!("{}: not a whole safetensors file ({error})", path.display()))
}

fn contiguous(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// The files of a checkpoint, each with the names the index promises in it (none without an index).
fn shards(folder: &Path) -> Result<Vec<(PathBuf, Vec<String>)>> {
    let index = folder.join("model.safetensors.index.json");
    if !index.exists() {
        return Ok(vec![(folder.join("model.safetensors"), Vec::new())]);
    }
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = std::fs::read_to_string(&index).map_err(|source| Error::io(&index, source))?;
    let parsed: Index = serde_json::from_str(&text).map_err(|error| Error::Checkpoint(format!("{}: {error}", index.display())))?;
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, file) in parsed.weight_map {
        files.entry(file).or_default().push(name);
    }
    files.into_iter().map(|(file, names)| Ok((folder.join(plain(&index, &file)?), names))).collect()
}

/// A shard's name must be a file beside the index, whatever the index says.
fn plain<'a>(index: &Path, file: &'a str) -> Result<&'a str> {
    let mut parts = Path::new(file).components();
    let single = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    if single && file.ends_with(".safetensors") && !file.contains('\\') {
        return Ok(file);
    }
    Err(Error::Checkpoint(format!("{}: refuses shard name {file:?}, which is not a .safetensors file of this folder", index.display())))
}
