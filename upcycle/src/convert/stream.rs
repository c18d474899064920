//! Moves tensors from a mapped checkpoint into a file, a chunk at a time, for several threads at once.
//!
//! Where the element type stays, bytes go from the mapping to the file as they are. Every source tensor is scanned for NaN and
//! infinity once, however often it is written, and its pages are given back with its last use.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, PoisonError};

use coppice_models::checkpoint::kind_of;
use safetensors::Dtype;
use tch::{Kind, Tensor};

use super::budget::Budget;
use super::error::{ConvertError, Result};
use super::plan::Step;
use super::sources::Sources;
use super::values::{all_finite, converted, encode};
use crate::methods::{Make, Origin, Recipe};
use crate::writer::{SafetensorsWriter, TensorHeader};

/// Bytes moved between two looks at the interrupt flag; a multiple of every element size.
const CHUNK: usize = 8 << 20;

/// Elements of a tensor that is made element by element, computed at a time.
const STRETCH: usize = 2 << 20;

/// Bytes of computed tensors, with what they are computed from, that all threads together may hold; a larger one is made alone.
const COMPUTED: u64 = 1 << 30;

/// What the threads of a conversion share.
pub(crate) struct Stream<'a> {
    sources: &'a Sources<'a>,
    /// How often each source tensor is still to be read.
    uses: HashMap<&'a Origin, AtomicUsize>,
    scanned: Mutex<HashSet<&'a Origin>>,
    budget: Budget,
    interrupted: &'a AtomicBool,
}

/// A tensor of the file being written.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The file.
    pub(crate) file: &'a SafetensorsWriter,
    /// Which of its tensors.
    pub(crate) index: usize,
    /// That tensor's name, type and shape.
    pub(crate) header: &'a TensorHeader,
    /// Is told of bytes as they are written.
    pub(crate) told: &'a SyncSender<Written>,
}

/// Bytes of a tensor that were written.
pub(crate) struct Written {
    /// Which of the file's tensors.
    pub(crate) index: usize,
    /// How many.
    pub(crate) bytes: u64,
}

impl<'a> Stream<'a> {
    /// `steps` are all that will be written.
    pub(crate) fn new(sources: &'a Sources<'a>, steps: impl Iterator<Item = &'a Step>, interrupted: &'a AtomicBool) -> Self {
        let mut uses: HashMap<&Origin, AtomicUsize> = HashMap::new();
        for source in steps.flat_map(|step| step.recipe.sources()) {
            *uses.entry(source).or_default().get_mut() += 1;
        }
        Self { sources, uses, scanned: Mutex::default(), budget: Budget::new(COMPUTED), interrupted }
    }

    /// Makes one tensor and writes it to its place.
    pub(crate) fn step(&self, step: &'a Step, place: Place<'_>) -> Result<()> {
        match &step.recipe {
            Recipe::Copy(origin) => self.copy(origin, place)?,
            Recipe::Made { sources, make, .. } => self.make(sources, make, place)?,
            Recipe::Elementwise { sources, make, .. } => self.make_in_stretches(sources, make, place)?,
        }
        step.recipe.sources().iter().try_for_each(|source| self.used(source))
    }

    fn copy(&self, origin: &'a Origin, place: Place<'_>) -> Result<()> {
        let (bytes, stored, wanted) = (self.sources.bytes(origin)?, self.dtype(origin), place.header.dtype);
        let (scan, last) = (self.is_first_look(origin), self.uses.get(origin).is_some_and(|left| left.load(Ordering::Relaxed) == 1));
        let mut at = 0;
        for chunk in bytes.chunks(CHUNK) {
            if scan {
                self.finite(origin, chunk)?;
            }
            at += match wanted == stored {
                true => self.put(chunk, at, place)?,
                false => self.put_made(&converted(chunk, stored, wanted)?, at, place)?,
            };
            if last {
                self.sources.release(origin)?;
            }
        }
        Ok(())
    }

    fn make(&self, sources: &'a [Origin], make: &Make, place: Place<'_>) -> Result<()> {
        let _held = self.budget.take(self.cost(sources, place.header));
        let mut tensors = Vec::with_capacity(sources.len());
        for origin in sources {
            if self.is_first_look(origin) {
                self.finite(origin, self.sources.bytes(origin)?)?;
            }
            tensors.push(self.sources.load(origin)?);
        }
        let made = make(&tensors)?;
        let (expected, found) = (&place.header.shape, made.size());
        if !expected.iter().map(|&size| size as i64).eq(found.iter().copied()) {
            return Err(ConvertError::Shape { tensor: place.header.name.clone(), expected: expected.clone(), found });
        }
        drop(tensors);
        self.put_made(&encode(&made, place.header.dtype)?, 0, place).map(drop)
    }

    /// Makes a tensor a stretch at a time from the same stretches of its sources.
    fn make_in_stretches(&self, sources: &'a [Origin], make: &Make, place: Place<'_>) -> Result<()> {
        let looks: Vec<bool> = sources.iter().map(|origin| self.is_first_look(origin)).collect();
        let count: usize = place.header.shape.iter().product();
        let mut at = 0;
        for start in (0..count).step_by(STRETCH) {
            let range = start..count.min(start + STRETCH);
            let parts = sources.iter().zip(&looks).map(|(origin, &scan)| self.stretch(origin, range.clone(), scan));
            let made = make(&parts.collect::<Result<Vec<_>>>()?)?;
            at += self.put_made(&encode(&made, place.header.dtype)?, at, place)?;
        }
        Ok(())
    }

    /// Elements of a source tensor as a vector in f32.
    fn stretch(&self, origin: &Origin, elements: Range<usize>, scan: bool) -> Result<Tensor> {
        let (dtype, bytes) = (self.dtype(origin), self.sources.bytes(origin)?);
        let size = dtype.bitsize() / 8;
        let whole = || ConvertError::Options(format!("tensor {} has fewer elements than what is made of it", origin.tensor));
        let part = bytes.get(elements.start * size..elements.end * size).ok_or_else(whole)?;
        if scan {
            self.finite(origin, part)?;
        }
        Ok(Tensor::f_from_data_size(part, &[elements.len() as i64], kind_of(dtype)?)?.f_to_kind(Kind::Float)?)
    }

    /// Bytes that are held while a tensor is made: its sources and itself in f32, and its bytes in the file's type.
    fn cost(&self, sources: &[Origin], header: &TensorHeader) -> u64 {
        let elements = |shape: &[i64]| shape.iter().product::<i64>() as u64;
        let read: u64 = sources.iter().filter_map(|origin| self.sources.entry(origin)).map(|entry| 4 * elements(&entry.shape)).sum();
        read + 4 * header.shape.iter().product::<usize>() as u64 + header.bytes() as u64
    }

    /// Writes values that were computed, drawn or converted, unless one is beyond the range of their type.
    fn put_made(&self, bytes: &[u8], at: u64, place: Place<'_>) -> Result<u64> {
        if !all_finite(bytes, place.header.dtype) {
            return Err(ConvertError::Overflow { tensor: place.header.name.clone(), dtype: place.header.dtype });
        }
        self.put(bytes, at, place)
    }

    /// Writes bytes of the tensor at hand and returns how many.
    fn put(&self, bytes: &[u8], at: u64, place: Place<'_>) -> Result<u64> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(ConvertError::Interrupted);
        }
        place.file.write_at(place.index, at, bytes)?;
        let _ = place.told.send(Written { index: place.index, bytes: bytes.len() as u64 });
        Ok(bytes.len() as u64)
    }

    /// True once for each source tensor.
    fn is_first_look(&self, origin: &'a Origin) -> bool {
        self.scanned.lock().unwrap_or_else(PoisonError::into_inner).insert(origin)
    }

    fn finite(&self, origin: &Origin, bytes: &[u8]) -> Result<()> {
        let refuse =
            || ConvertError::NonFinite { path: self.sources.all()[origin.checkpoint].folder.clone(), tensor: origin.tensor.clone() };
        if all_finite(bytes, self.dtype(origin)) { Ok(()) } else { Err(refuse()) }
    }

    fn dtype(&self, origin: &Origin) -> Dtype {
        self.sources.entry(origin).map_or(Dtype::F32, |entry| entry.dtype)
    }

    /// Counts a use; the pages go back to the system after the last.
    fn used(&self, origin: &Origin) -> Result<()> {
        let before = self.uses.get(origin).map_or(1, |left| left.fetch_sub(1, Ordering::Relaxed));
        if before == 1 { Ok(self.sources.release(origin)?) } else { Ok(()) }
    }
}
