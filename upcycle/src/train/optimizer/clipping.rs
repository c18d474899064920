//! The gradient's norm, and what clipping makes of it, without waiting for their values.

use coppice_models::ext::training;
use coppice_models::state::Parameter;
use tch::{Kind, Tensor};

use super::is_router;
use crate::train::error::Result;

/// L2 norms of a gradient: scalar tensors, f32.
#[derive(Debug)]
pub struct Norms {
    /// Of all of it.
    pub whole: Tensor,
    /// Of the routers' part; none where there are no routers.
    pub routers: Option<Tensor>,
}

/// The norms of `gradients`, one a parameter.
///
/// # Errors
/// When libtorch fails.
pub fn norms<'a>(parameters: impl Iterator<Item = &'a Parameter>, gradients: &[Tensor]) -> Result<Norms> {
    let each = training::norms(&gradients.iter().collect::<Vec<_>>())?; // one a parameter
    let names = parameters.enumerate().filter(|(_, parameter)| is_router(&parameter.name));
    let places: Vec<i64> = names.map(|(place, _)| place as i64).collect();
    let routers = (!places.is_empty()).then(|| -> Result<Tensor> {
        let places = Tensor::f_from_slice(&places)?.f_to_device(each.device())?;
        Ok(each.f_index_select(0, &places)?.f_norm()?)
    });
    Ok(Norms { whole: each.f_norm()?, routers: routers.transpose()? })
}

impl Norms {
    /// What gradients are divided by so that their norm is at most `limit`, as `torch.nn.utils.clip_grad_norm_` does it: a scalar tensor, at
    /// least 1. None for `limit` 0, which never clips.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn divisor(&self, limit: f64) -> Result<Option<Tensor>> {
        let divisor = || self.whole.f_add_scalar(1e-6)?.f_div_scalar(limit)?.f_clamp_min(1.0);
        Ok(if limit > 0.0 { Some(divisor()?) } else { None })
    }

    /// 1 where the gradient is not finite, else 0; a scalar tensor, f32.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn not_finite(&self) -> Result<Tensor> {
        Ok(self.whole.f_isfinite()?.f_logical_not()?.f_to_kind(Kind::Float)?)
    }
}
