//! The sum over the micro-batches of a step.

use tch::Tensor;

use super::Gradients;
use super::routers::RouterLosses;
use crate::train::error::{Result, TrainError};
use crate::train::experts::Tally;
use crate::train::losses::added;

/// One micro-batch's share of everything.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) gradients: Vec<Tensor>,
    pub(super) loss: Tensor,                 // summed cross entropy
    pub(super) router: Option<RouterLosses>, // times this part's share of the tokens
    pub(super) tallies: Vec<Tally>,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Accumulated(Option<Part>);

impl Accumulated {
    /// Where the assignments went so far, one a routed layer; nothing before the first part.
    pub(super) fn tallies(&self) -> &[Tally] {
        self.0.as_ref().map_or(&[], |part| &part.tallies)
    }

    pub(super) fn add(&mut self, part: Part) -> Result<()> {
        let Some(mut sum) = self.0.take() else {
            self.0 = Some(part);
            return Ok(());
        };
        sum.tallies.iter_mut().zip(&part.tallies).try_for_each(|(mine, theirs)| mine.add(theirs))?;
        let gradients = sum.gradients.into_iter().zip(part.gradients).map(|(mine, theirs)| added(Some(mine), theirs));
        self.0 = Some(Part {
            gradients: gradients.collect::<Result<_>>()?,
            loss: added(Some(sum.loss), part.loss)?,
            router: part.router.map(|losses| losses.plus(sum.router)).transpose()?,
            tallies: sum.tallies,
        });
        Ok(())
    }

    /// The sum over a step of `tokens`.
    pub(super) fn finish(self, tokens: i64) -> Result<Gradients> {
        let part = self.0.ok_or_else(|| TrainError::Tokens("a step without sequences".into()))?;
        let loss = part.loss.f_double_value(&[])? / tokens as f64;
        let (balance, z) = part.router.map_or((None, None), |losses| (losses.balance, Some(losses.z)));
        let (balance, z) = (balance.map(values).transpose()?, z.map(values).transpose()?);
        Ok(Gradients { tensors: part.gradients, loss, balance, z, tallies: part.tallies })
    }
}

fn values(losses: Tensor) -> Result<Vec<f64>> {
    Ok(Vec::try_from(losses.f_to_kind(tch::Kind::Double)?)?)
}
