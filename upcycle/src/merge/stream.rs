//! Moves the tensors of a merge into files: made one at a time, written a chunk at a time.

use std::sync::atomic::{AtomicBool, Ordering};

use coppice_models::Checkpoint;
use coppice_models::checkpoint::kind_of;
use tch::Tensor;

use super::layer::matrix;
use super::plan::{Merged, Plan};
use crate::convert::values::encode;
use crate::convert::{ConvertError, Progress, Result};
use crate::writer::{SafetensorsWriter, TensorHeader};

/// Elements written between two looks at the interrupt flag.
const CHUNK: i64 = 4 << 20;

/// The state of a merge under way.
pub(super) struct Stream<'a> {
    source: &'a Checkpoint,
    plan: &'a Plan,
    written: u64,
    total: u64,
    progress: &'a mut dyn FnMut(Progress),
    interrupted: &'a AtomicBool,
}

impl<'a> Stream<'a> {
    pub(super) fn new(source: &'a Checkpoint, plan: &'a Plan, progress: &'a mut dyn FnMut(Progress), interrupted: &'a AtomicBool) -> Self {
        Self { source, plan, written: 0, total: plan.bytes(), progress, interrupted }
    }

    /// Makes one tensor and writes it as tensor `index` of `file`.
    pub(super) fn step(&mut self, merged: &Merged, index: usize, file: &SafetensorsWriter) -> Result<()> {
        let name = &merged.header.name;
        let Some((layer, projection)) = merged.mlp else {
            // SAFETY: the view is written before the pages are released, and the source outlives this function.
            self.put(&unsafe { self.source.view(name)? }, &merged.header, index, file)?;
            return Ok(self.source.release(name)?);
        };
        self.put(&matrix(self.source, self.plan, layer, projection)?, &merged.header, index, file)
    }

    /// Writes a tensor in the header's element type; refuses NaN, infinity, and what is beyond the type's range.
    fn put(&mut self, tensor: &Tensor, header: &TensorHeader, index: usize, file: &SafetensorsWriter) -> Result<()> {
        let flat = tensor.f_contiguous()?.f_view([-1])?;
        let count = flat.size1()?;
        for start in (0..count).step_by(CHUNK as usize) {
            let part = flat.f_narrow(0, start, CHUNK.min(count - start))?;
            if !finite(&part)? {
                return Err(ConvertError::NonFinite { path: self.source.folder.clone(), tensor: header.name.clone() });
            }
            let part = part.f_to_kind(kind_of(header.dtype)?)?;
            if !finite(&part)? {
                return Err(ConvertError::Overflow { tensor: header.name.clone(), dtype: header.dtype });
            }
            file.write_at(index, start as u64 * part.kind().elt_size_in_bytes() as u64, &encode(&part, header.dtype)?)?;
            self.told(&part, header)?;
        }
        Ok(())
    }

    /// Counts what is written, and stops where the user asks for it.
    fn told(&mut self, part: &Tensor, header: &TensorHeader) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(ConvertError::Interrupted);
        }
        self.written += (part.numel() * part.kind().elt_size_in_bytes()) as u64;
        (self.progress)(Progress { tensor: &header.name, written: self.written, total: self.total });
        Ok(())
    }
}

fn finite(values: &Tensor) -> Result<bool> {
    Ok(bool::try_from(values.f_isfinite()?.f_all()?)?)
}
