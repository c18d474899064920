//! Balancing by counts, without gradients: after every step the routers' biases and the coefficients of their balance losses move.

use std::path::Path;

use coppice_models::Model;
use tch::{Kind, Tensor, no_grad_guard};

use super::error::{Result, TrainError};
use super::experts::{Tally, routed};
use super::recipe::LossConfig;

/// The coefficients of the balance loss, one a routed layer: a run's state beside weights and moments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Coefficients(pub(super) Vec<f64>);

impl Coefficients {
    /// Those a run starts with.
    pub(super) fn new(model: &Model, losses: &LossConfig) -> Self {
        Self(routed(model).map(|_| losses.balance_coefficient).collect())
    }

    /// Puts those of the checkpoint at `path` back, where they are its own and not the recipe's.
    pub(super) fn restore(&mut self, path: &Path, found: &[f64], losses: &LossConfig) -> Result<()> {
        if losses.adaptive.is_some() {
            let told = || format!("has {} balance coefficients, this model has {} routed layers", found.len(), self.0.len());
            (found.len() == self.0.len()).then_some(()).ok_or_else(|| TrainError::checkpoint(path, told()))?;
            self.0 = found.to_vec();
        }
        Ok(())
    }

    /// Those that a checkpoint must hold.
    pub(super) fn state(&self, losses: &LossConfig) -> Vec<f64> {
        if losses.adaptive.is_some() { self.0.clone() } else { Vec::new() }
    }

    /// Follows the loads of a step, where the recipe says so.
    pub(super) fn follow(&mut self, tallies: &[Tally], losses: &LossConfig) -> Result<()> {
        let Some(adaptive) = losses.adaptive else { return Ok(()) };
        for (alpha, tally) in self.0.iter_mut().zip(tallies) {
            *alpha = adaptive.next(*alpha, tally.beyond()?);
        }
        Ok(())
    }
}

/// Moves the balancing bias of every router that has one by the step's loads.
pub(super) fn move_biases(model: &Model, tallies: &[Tally], rate: f64) -> Result<()> {
    let routers = routed(model).map(|(_, moe)| &moe.router).zip(tallies);
    let mut biases = routers.filter_map(|(router, tally)| router.bias.as_ref().zip(Some(&tally.chosen)));
    biases.try_for_each(|(bias, loads)| move_bias(bias, loads, rate))
}

/// `bias[i] += rate * sign(mean load - load[i])` for the balancing bias `[N]` of one router and the loads `[N]` of a step, all its
/// micro-batches together (DeepSeek-V3, arXiv 2412.19437, section 2.1.2). In place; the bias is stored with the weights.
///
/// # Errors
/// When the shapes do not match.
pub fn move_bias(bias: &Tensor, loads: &Tensor, rate: f64) -> Result<()> {
    let _guard = no_grad_guard();
    let loads = loads.f_to_kind(Kind::Double)?;
    let direction = loads.f_mean(Kind::Double)?.f_sub(&loads)?.f_sign()?; // [N]
    let _ = bias.shallow_clone().f_add_(&direction.f_mul_scalar(rate)?.f_to_kind(bias.kind())?)?;
    Ok(())
}
