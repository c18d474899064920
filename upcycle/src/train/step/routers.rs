//! The router losses of one micro-batch, layer by layer.

use coppice_models::moe::Routing;
use tch::{Kind, Tensor};

use super::Step;
use crate::train::error::Result;
use crate::train::experts::Tally;
use crate::train::losses::{BalanceLevel, added, global_batch, micro_batch, router_z, sequence};

// L routed layers, S tokens of a sequence.

/// Balance and z-loss of every routed layer.
#[derive(Debug)]
pub(super) struct RouterLosses {
    /// `[L]`; none with expert choice, which is balanced by construction.
    pub(super) balance: Option<Tensor>,
    /// `[L]`.
    pub(super) z: Tensor,
}

impl RouterLosses {
    /// Those of a micro-batch with sequences of `length`, before which the step has `seen` others; none where no layer is routed.
    pub(super) fn new(step: &Step, routings: &[Routing], length: i64, seen: &[Tally]) -> Result<Option<Self>> {
        let Some(moe) = &step.model.config.moe else { return Ok(None) };
        let balance = |(layer, routing): (usize, &Routing)| match step.config.losses.balance_level {
            BalanceLevel::MicroBatch => micro_batch(routing, moe.gate),
            BalanceLevel::Sequence => sequence(routing, moe.gate, length),
            BalanceLevel::GlobalBatch => global_batch(routing, moe.gate, &so_far(routing, seen.get(layer))?),
        };
        let balanced = || stacked(routings.iter().enumerate().map(balance));
        let balance = if moe.gate.is_expert_choice() { None } else { Some(balanced()?) };
        Ok(Some(Self { balance, z: stacked(routings.iter().map(router_z))? }))
    }

    /// All of them times a micro-batch's share of the step's tokens.
    pub(super) fn times(self, share: f64) -> Result<Self> {
        self.each(|losses| Ok(losses.f_mul_scalar(share)?))
    }

    /// Without the graph they came from.
    pub(super) fn detached(self) -> Result<Self> {
        self.each(|losses| Ok(losses.f_detach()?))
    }

    /// The sum with those of an earlier micro-batch.
    pub(super) fn plus(self, earlier: Option<Self>) -> Result<Self> {
        let Some(earlier) = earlier else { return Ok(self) };
        let balance = self.balance.map(|losses| added(earlier.balance, losses)).transpose()?;
        Ok(Self { balance, z: added(Some(earlier.z), self.z)? })
    }

    /// What they add to the objective: the mean over layers of each loss times its coefficient, a scalar.
    pub(super) fn weighted(&self, balance: &[f64], z: f64) -> Result<Tensor> {
        let z = self.z.f_mean(Kind::Float)?.f_mul_scalar(z)?;
        let Some(losses) = &self.balance else { return Ok(z) };
        let coefficients = Tensor::f_from_slice(balance)?.f_to_kind(Kind::Float)?.f_to_device(losses.device())?;
        Ok(z.f_add(&losses.f_mul(&coefficients)?.f_mean(Kind::Float)?)?)
    }

    fn each(self, change: impl Fn(Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self { balance: self.balance.map(&change).transpose()?, z: change(self.z)? })
    }
}

/// Assignments per expert of this micro-batch and of those before it, `[N]`.
fn so_far(routing: &Routing, seen: Option<&Tally>) -> Result<Tensor> {
    Ok(match seen {
        Some(seen) => routing.counts.f_add(&seen.chosen)?,
        None => routing.counts.shallow_clone(),
    })
}

fn stacked(losses: impl Iterator<Item = Result<Tensor>>) -> Result<Tensor> {
    Ok(Tensor::f_stack(&losses.collect::<Result<Vec<_>>>()?, 0)?)
}
