//! The router losses of one layer on one micro-batch.

use coppice_models::moe::Routing;
use tch::Tensor;

use super::Step;
use crate::train::error::Result;
use crate::train::experts::Tally;
use crate::train::losses::{BalanceLevel, global_batch, micro_batch, router_z, sequence};

// S tokens of a sequence.

/// Balance and z-loss of one routed layer, scalars in f32.
#[derive(Debug)]
pub(super) struct RouterLoss {
    /// None with expert choice, which is balanced by construction.
    pub(super) balance: Option<Tensor>,
    pub(super) z: Tensor,
}

impl RouterLoss {
    /// Those of a micro-batch with sequences of `length`, before which the step has `seen` others.
    pub(super) fn new(step: &Step, routing: &Routing, length: i64, seen: Option<&Tally>) -> Result<Self> {
        let gate = step.model.config.moe.as_ref().map(|moe| moe.gate).unwrap_or_default();
        let balance = || match step.config.losses.balance_level {
            BalanceLevel::MicroBatch => micro_batch(routing, gate),
            BalanceLevel::Sequence => sequence(routing, gate, length),
            BalanceLevel::GlobalBatch => global_batch(routing, gate, &so_far(routing, seen)?),
        };
        let balance = if gate.is_expert_choice() { None } else { Some(balance()?) };
        Ok(Self { balance, z: router_z(routing)? })
    }

    /// Both times a micro-batch's share of the step's tokens, without the graph they came from.
    pub(super) fn times(&self, share: f64) -> Result<Self> {
        let part = |loss: &Tensor| loss.f_detach()?.f_mul_scalar(share);
        Ok(Self { balance: self.balance.as_ref().map(part).transpose()?, z: part(&self.z)? })
    }

    /// Adds those of a later micro-batch.
    pub(super) fn add(&mut self, later: &Self) -> Result<()> {
        self.z = self.z.f_add(&later.z)?;
        if let (Some(sum), Some(balance)) = (&mut self.balance, &later.balance) {
            *sum = sum.f_add(balance)?;
        }
        Ok(())
    }

    /// Both times their coefficients, a scalar.
    pub(super) fn weighted(&self, balance: f64, z: f64) -> Result<Tensor> {
        let z = self.z.f_mul_scalar(z)?;
        let Some(loss) = &self.balance else { return Ok(z) };
        Ok(z.f_add(&loss.f_mul_scalar(balance)?)?)
    }
}

/// Assignments per expert of this micro-batch and of those before it, `[N]`.
fn so_far(routing: &Routing, seen: Option<&Tally>) -> Result<Tensor> {
    Ok(match seen {
        Some(seen) => routing.counts.f_add(&seen.chosen)?,
        None => routing.counts.shallow_clone(),
    })
}
