//! Moves tensors from a mapped checkpoint into files, a chunk at a time.
//!
//! Where the element type stays, bytes go from the mapping to the file as they are. Every source tensor is scanned for NaN and
//! infinity once, however often it is written, and its pages are given back with its last use.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use coppice_models::checkpoint::kind_of;
use safetensors::Dtype;
use tch::Tensor;

use super::Progress;
use super::error::{ConvertError, Result};
use super::plan::{Plan, Step};
use super::sources::Sources;
use crate::methods::{Origin, Recipe};
use crate::writer::{SafetensorsWriter, TensorHeader};

/// Bytes moved between two looks at the interrupt flag; a multiple of every element size.
const CHUNK: usize = 8 << 20;

/// The state of a conversion under way.
pub(crate) struct Stream<'a> {
    sources: &'a Sources<'a>,
    uses: HashMap<&'a Origin, usize>,
    scanned: HashSet<&'a Origin>,
    written: u64,
    total: u64,
    progress: &'a mut dyn FnMut(Progress),
    interrupted: &'a AtomicBool,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(
        sources: &'a Sources<'a>,
        plan: &'a Plan,
        progress: &'a mut dyn FnMut(Progress),
        interrupted: &'a AtomicBool,
    ) -> Self {
        let mut uses = HashMap::new();
        for step in &plan.steps {
            for source in step.recipe.sources() {
                *uses.entry(source).or_insert(0) += 1;
            }
        }
        Self { sources, uses, scanned: HashSet::new(), written: 0, total: plan.bytes(), progress, interrupted }
    }

    /// Makes one tensor and appends it to `file`.
    pub(crate) fn step(&mut self, step: &'a Step, file: &mut SafetensorsWriter) -> Result<()> {
        let header = &step.header;
        match &step.recipe {
            Recipe::Copy(origin) => self.copy(origin, header, file)?,
            Recipe::Made { sources, make, .. } => {
                let mut tensors = Vec::with_capacity(sources.len());
                for origin in sources {
                    self.scan(origin, self.sources.bytes(origin)?)?;
                    tensors.push(self.sources.load(origin)?);
                }
                self.put_made(&encode(&make(&tensors)?, header.dtype)?, header, file)?;
            }
        }
        step.recipe.sources().iter().try_for_each(|source| self.used(source))
    }

    fn copy(&mut self, origin: &'a Origin, header: &TensorHeader, file: &mut SafetensorsWriter) -> Result<()> {
        let bytes = self.sources.bytes(origin)?;
        let stored = self.sources.entry(origin).map_or(header.dtype, |entry| entry.dtype);
        let (known, last) = (self.scanned.contains(origin), self.uses.get(origin) == Some(&1));
        for chunk in bytes.chunks(CHUNK) {
            if !known {
                self.finite(origin, chunk, stored)?;
            }
            if header.dtype == stored {
                self.put(chunk, header, file)?;
            } else {
                self.put_made(&converted(chunk, stored, header.dtype)?, header, file)?;
            }
            if last {
                self.sources.release(origin)?;
            }
        }
        self.scanned.insert(origin);
        Ok(())
    }

    /// Appends values that were computed, drawn or converted, unless one is beyond the range of their type.
    fn put_made(&mut self, bytes: &[u8], header: &TensorHeader, file: &mut SafetensorsWriter) -> Result<()> {
        if !all_finite(bytes, header.dtype) {
            return Err(ConvertError::Overflow { tensor: header.name.clone(), dtype: header.dtype });
        }
        self.put(bytes, header, file)
    }

    /// Appends bytes of the tensor at hand.
    fn put(&mut self, bytes: &[u8], header: &TensorHeader, file: &mut SafetensorsWriter) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(ConvertError::Interrupted);
        }
        file.write(bytes)?;
        self.written += bytes.len() as u64;
        (self.progress)(Progress { tensor: &header.name, written: self.written, total: self.total });
        Ok(())
    }

    /// Looks through a whole tensor, unless that was done before.
    fn scan(&mut self, origin: &'a Origin, bytes: &[u8]) -> Result<()> {
        let stored = self.sources.entry(origin).map_or(Dtype::F32, |entry| entry.dtype);
        if self.scanned.insert(origin) { self.finite(origin, bytes, stored) } else { Ok(()) }
    }

    fn finite(&self, origin: &Origin, bytes: &[u8], dtype: Dtype) -> Result<()> {
        let refuse =
            || ConvertError::NonFinite { path: self.sources.all()[origin.checkpoint].folder.clone(), tensor: origin.tensor.clone() };
        if all_finite(bytes, dtype) { Ok(()) } else { Err(refuse()) }
    }

    /// Counts a use; the pages go back to the system after the last.
    fn used(&mut self, origin: &'a Origin) -> Result<()> {
        let left = self.uses.entry(origin).or_insert(1);
        *left -= 1;
        if *left == 0 { Ok(self.sources.release(origin)?) } else { Ok(()) }
    }
}

/// Whether no element has all exponent bits set, the mark of NaN and infinity in every IEEE-like type.
fn all_finite(bytes: &[u8], dtype: Dtype) -> bool {
    let halves = |mask: u16| {
        let special = |element: &[u8]| u16::from_le_bytes([element[0], element[1]]) & mask == mask;
        !bytes.chunks_exact(2).fold(false, |found, element| found | special(element))
    };
    match dtype {
        Dtype::F16 => halves(0x7C00),
        Dtype::BF16 => halves(0x7F80),
        _ => {
            const MASK: u32 = 0x7F80_0000;
            let special = |e: &[u8]| u32::from_le_bytes([e[0], e[1], e[2], e[3]]) & MASK == MASK;
            !bytes.chunks_exact(4).fold(false, |found, element| found | special(element))
        }
    }
}

/// Elements in another type, little-endian.
fn converted(bytes: &[u8], from: Dtype, to: Dtype) -> Result<Vec<u8>> {
    let count = (bytes.len() * 8 / from.bitsize()) as i64;
    encode(&Tensor::f_from_data_size(bytes, &[count], kind_of(from)?)?, to)
}

/// A tensor's elements in type `to`, little-endian.
fn encode(tensor: &Tensor, to: Dtype) -> Result<Vec<u8>> {
    let tensor = tensor.f_to_kind(kind_of(to)?)?.f_contiguous()?;
    let mut bytes = vec![0; tensor.numel() * to.bitsize() / 8];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    #[test]
    fn the_scan_agrees_with_is_finite_on_every_sixteen_bit_pattern() {
        for bits in 0..=u16::MAX {
            assert_eq!(all_finite(&bits.to_le_bytes(), Dtype::F16), f16::from_bits(bits).is_finite());
            assert_eq!(all_finite(&bits.to_le_bytes(), Dtype::BF16), bf16::from_bits(bits).is_finite());
        }
        for value in [0.0, -0.0, f32::MAX, f32::MIN_POSITIVE, 1e-45, f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(all_finite(&value.to_le_bytes(), Dtype::F32), value.is_finite());
        }
    }

    #[test]
    fn conversion_rounds_as_the_half_crate_does() {
        let values: Vec<f32> = (0..1000).map(|i| (f64::from(i) * 0.37 - 100.0).exp2() as f32 * 1e10).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let expected: Vec<u8> = values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect();
        assert_eq!(converted(&bytes, Dtype::F32, Dtype::BF16).unwrap(), expected);
    }
}
