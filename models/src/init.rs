//! Where a model's tensors come from: a checkpoint, or a seeded random initialisation.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use crate::checkpoint::{Checkpoint, kind_of};
use crate::config::Config;
use crate::error::Result;

/// Hands out tensors by name.
pub trait Source {
    /// A tensor that must be there, of the given shape.
    ///
    /// # Errors
    /// When it is absent.
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor>;

    /// A tensor that may be left out.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    fn optional(&self, name: &str, shape: &[i64]) -> Result<Option<Tensor>>;

    /// A tensor that must be there, in f32 whatever the others are computed in.
    ///
    /// # Errors
    /// When it is absent.
    fn exact(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        Ok(self.tensor(name, shape)?.f_to_kind(Kind::Float)?)
    }

    /// Equal-shaped tensors packed along a new first dimension, `[names.len(), shape…]`.
    ///
    /// # Errors
    /// When one is absent.
    fn packed(&self, names: &[String], shape: &[i64]) -> Result<Tensor> {
        let parts = names.iter().map(|name| self.tensor(name, shape)).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::f_stack(&parts, 0)?)
    }
}

/// Tensors of another source, in another type.
pub struct Cast<'a> {
    /// Where they come from.
    pub source: &'a dyn Source,
    /// Element type to compute in.
    pub kind: Kind,
}

impl Source for Cast<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        Ok(self.source.tensor(name, shape)?.f_to_kind(self.kind)?)
    }

    fn exact(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.source.exact(name, shape)
    }

    fn optional(&self, name: &str, shape: &[i64]) -> Result<Option<Tensor>> {
        Ok(self.source.optional(name, shape)?.map(|tensor| tensor.f_to_kind(self.kind)).transpose()?)
    }
}

/// Reads from a checkpoint: in place where the file's element type, the device and the purpose allow it, else as one converted copy.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// The opened checkpoint.
    pub checkpoint: &'a Checkpoint,
    /// Element type to compute in.
    pub kind: Kind,
    /// Device to compute on.
    pub device: Device,
    /// Whether the tensors will be written to (training), which mapped ones cannot be.
    pub owned: bool,
}

impl Stored<'_> {
    /// Whether the model is used where it lies in the file.
    pub(crate) fn reads_in_place(&self) -> bool {
        let same_kind = kind_of(self.checkpoint.dtype()).is_ok_and(|kind| kind == self.kind);
        !self.owned && same_kind && self.device == Device::Cpu
    }

    /// Equal-shaped tensors that follow one another in the file, as one tensor over the mapping; none where they must be copied.
    fn consecutive(&self, names: &[String]) -> Result<Option<Tensor>> {
        let kinds = names.iter().map(|name| self.checkpoint.entry(name).map(|entry| kind_of(entry.dtype)).transpose());
        let same_kind = kinds.collect::<Result<Vec<_>>>()?.iter().all(|kind| *kind == Some(self.kind));
        if self.owned || !same_kind || self.device != Device::Cpu {
            return Ok(None);
        }
        // SAFETY: as for a single tensor below.
        unsafe { self.checkpoint.view_packed(names) }
    }
}

impl Source for Stored<'_> {
    fn tensor(&self, name: &str, _shape: &[i64]) -> Result<Tensor> {
        let same_kind = self.checkpoint.entry(name).map(|entry| kind_of(entry.dtype)).transpose()? == Some(self.kind);
        if self.owned || !same_kind || self.device != Device::Cpu {
            return self.checkpoint.load(name, self.kind, self.device);
        }
        // SAFETY: `Model` keeps the checkpoint's mappings beside its tensors, and only owned tensors are ever written to.
        unsafe { self.checkpoint.view(name) }
    }

    fn exact(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        Stored { kind: Kind::Float, ..*self }.tensor(name, shape)
    }

    fn optional(&self, name: &str, shape: &[i64]) -> Result<Option<Tensor>> {
        self.checkpoint.entry(name).map(|_| self.tensor(name, shape)).transpose()
    }

    fn packed(&self, names: &[String], shape: &[i64]) -> Result<Tensor> {
        if let Some(mapped) = self.consecutive(names)? {
            return Ok(mapped);
        }
        let size: Vec<i64> = std::iter::once(names.len() as i64).chain(shape.iter().copied()).collect();
        let packed = Tensor::f_empty(&size[..], (self.kind, self.device))?;
        for (slot, name) in names.iter().enumerate() {
            // SAFETY: the view is copied before the loop goes on.
            packed.f_get(slot as i64)?.f_copy_(&unsafe { self.checkpoint.view(name)? })?;
            self.checkpoint.release(name)?;
        }
        Ok(packed)
    }
}

/// GPT-NeoX's initialisation: `N(0, std)`, output projections `N(0, std / sqrt(2 L))`, LayerNorms one and zero.
///
/// A tensor's values depend on the seed and its name alone, not on the order of creation.
#[derive(Debug, Clone, Copy)]
pub struct Random<'a> {
    /// Sizes and switches.
    pub config: &'a Config,
    /// Seed of all draws.
    pub seed: u64,
    /// Standard deviation of the matrices (0.02 for StableLM 2 1.6B).
    pub std: f64,
    /// Device the tensors are made on, in f32.
    pub device: Device,
}

impl Source for Random<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        let on = (Kind::Float, self.device);
        if name.contains("norm") && name.ends_with(".weight") {
            return Ok(Tensor::f_ones(shape, on)?);
        }
        if name.ends_with(".bias") || name.ends_with(".e_score_correction_bias") {
            return Ok(Tensor::f_zeros(shape, on)?);
        }
        let output = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
        let std = if output { self.std / (2.0 * self.config.num_hidden_layers as f64).sqrt() } else { self.std };
        let values = normal(self.seed, name, shape.iter().product::<i64>() as usize, std);
        Ok(Tensor::f_from_slice(&values)?.f_view(shape)?.f_to(self.device)?)
    }

    fn optional(&self, name: &str, shape: &[i64]) -> Result<Option<Tensor>> {
        if self.config.layer_norm_bias { self.tensor(name, shape).map(Some) } else { Ok(None) }
    }
}

/// `count` draws from `N(0, std)`: ChaCha8 seeded by `seed` on a stream of its own for `name`, Box-Muller in f64.
pub fn normal(seed: u64, name: &str, count: usize, std: f64) -> Vec<f32> {
    let mut rng = stream(seed, name);
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = (-2.0 * unit(&mut rng).ln()).sqrt() * std;
        let angle = std::f64::consts::TAU * unit(&mut rng);
        values.push((radius * angle.cos()) as f32);
        values.push((radius * angle.sin()) as f32);
    }
    values.truncate(count);
    values
}

/// The generator of `seed` on the stream of `name`.
pub fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // FNV-1a, stable across platforms and releases.
    rng.set_stream(name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)));
    rng
}

/// A draw from the half-open interval `(0, 1]`.
pub fn unit(rng: &mut impl Rng) -> f64 {
    ((rng.next_u64() >> 11) as f64 + 1.0) / (1u64 << 53) as f64
}
