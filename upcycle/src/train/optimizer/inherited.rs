//! Going on from what another run kept.

use tch::{Kind, Tensor, no_grad_guard};

use super::AdamW;
use crate::train::error::Result;

/// What another run kept of one stored parameter, in f32 and of its shape; none where it begins anew.
#[derive(Debug, Default)]
pub struct Inherited {
    /// The weights.
    pub master: Option<Tensor>,
    /// Exponential averages of the gradient and of its square.
    pub moments: Option<(Tensor, Tensor)>,
}

impl AdamW {
    /// Goes on from another run after `updates` of it. `of` gives what that run kept of a stored parameter, by its name and weights. Weights
    /// go to the master copies, or to the parameters themselves where those are in f32.
    ///
    /// # Errors
    /// Those of `of`, and when a shape is not the parameter's.
    pub fn inherit(&mut self, updates: u64, of: impl Fn(&str, &Tensor) -> Result<Inherited>) -> Result<()> {
        let _guard = no_grad_guard();
        for slot in &self.slots {
            let masters = slot.master.as_ref().unwrap_or(&slot.parameter).stored()?;
            let moments = slot.mean.stored()?.into_iter().zip(slot.square.stored()?);
            for (((name, weight), (_, exact)), ((_, mean), (_, square))) in slot.parameter.stored()?.into_iter().zip(masters).zip(moments) {
                of(&name, &weight)?.into(exact, mean, square)?;
            }
        }
        self.updates = updates;
        Ok(())
    }
}

impl Inherited {
    /// Writes what there is into one stored parameter's weights, where those are f32, and moments.
    fn into(self, mut exact: Tensor, mut mean: Tensor, mut square: Tensor) -> Result<()> {
        if let Some(master) = self.master.filter(|_| exact.kind() == Kind::Float) {
            exact.f_copy_(&master)?;
        }
        if let Some((first, second)) = self.moments {
            mean.f_copy_(&first)?;
            square.f_copy_(&second)?;
        }
        Ok(())
    }
}
