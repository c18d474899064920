//! Rotary position embedding on the first dimensions of each head, half-split ("NeoX"), computed in f32 (arXiv 2104.09864).

use tch::{Device, Kind, Tensor};

use crate::config::Config;
use crate::error::Result;

// S sequence, R rotated dimensions.

/// Cosines and sines of every position, f32 whatever the model computes in: bf16 positions above 256 are not exact.
#[derive(Debug)]
pub struct Rotary {
    cos: Tensor, // [positions, R/2]
    sin: Tensor, // [positions, R/2]
    dims: i64,
}

/// The angles of the positions at hand, shaped to broadcast over heads.
#[derive(Debug)]
pub struct Angles {
    cos: Tensor, // [1 or B, 1, S, R/2]
    sin: Tensor, // [1 or B, 1, S, R/2]
    dims: i64,
}

impl Rotary {
    /// Tables for positions `0..max_position_embeddings`.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(config: &Config, device: Device) -> Result<Self> {
        let dims = config.rotary_dim();
        let on = (Kind::Float, Device::Cpu);
        let exponents = Tensor::f_arange(dims / 2, on)?.f_mul_scalar(2.0)?.f_div_scalar(dims.max(1))?;
        let frequencies = Tensor::f_pow_scalar(config.rope_theta, &exponents)?.f_reciprocal()?; // [R/2], in f32 as the reference
        let angles = Tensor::f_arange(config.max_position_embeddings, on)?.f_outer(&frequencies)?.f_to(device)?;
        Ok(Self { cos: angles.f_cos()?, sin: angles.f_sin()?, dims })
    }

    /// Angles of positions `0..length`, the same for every row.
    ///
    /// # Errors
    /// When `length` exceeds the table.
    pub fn first(&self, length: i64) -> Result<Angles> {
        let shape = [1, 1, length, self.dims / 2];
        let part = |table: &Tensor| table.f_narrow(0, 0, length)?.f_view(shape);
        Ok(Angles { cos: part(&self.cos)?, sin: part(&self.sin)?, dims: self.dims })
    }

    /// Angles of positions of their own for each row: `positions [B, S]` (i64).
    ///
    /// # Errors
    /// When a position exceeds the table.
    pub fn at(&self, positions: &Tensor) -> Result<Angles> {
        let (rows, length) = positions.size2()?;
        let (flat, shape) = (positions.f_flatten(0, 1)?, [rows, 1, length, self.dims / 2]);
        let part = |table: &Tensor| table.f_index_select(0, &flat)?.f_reshape(shape);
        Ok(Angles { cos: part(&self.cos)?, sin: part(&self.sin)?, dims: self.dims })
    }
}

impl Angles {
    /// Rotates `x [B, H, S, head_dim]`; dimensions past the rotated ones pass through.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        if self.dims == 0 {
            return Ok(x.shallow_clone());
        }
        let (kind, half) = (x.kind(), self.dims / 2);
        let first = x.f_narrow(-1, 0, half)?.f_to_kind(Kind::Float)?;
        let second = x.f_narrow(-1, half, half)?.f_to_kind(Kind::Float)?;
        let rotated_first = first.f_mul(&self.cos)?.f_sub(&second.f_mul(&self.sin)?)?.f_to_kind(kind)?;
        let rotated_second = second.f_mul(&self.cos)?.f_add(&first.f_mul(&self.sin)?)?.f_to_kind(kind)?;
        let rest = x.f_narrow(-1, self.dims, x.size().last().copied().unwrap_or(0) - self.dims)?;
        Ok(Tensor::f_cat(&[rotated_first, rotated_second, rest], -1)?)
    }
}
