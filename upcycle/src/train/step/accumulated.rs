//! The sum over the micro-batches of a step.

use coppice_models::state::Parameter;
use tch::{Kind, Tensor, no_grad_guard};

use super::Gradients;
use super::routers::RouterLoss;
use crate::train::error::{Result, TrainError};
use crate::train::experts::Tally;

/// What was found so far.
#[derive(Debug)]
pub(super) struct Accumulated {
    gradients: Vec<Option<Tensor>>, // one a parameter
    kind: Kind,                     // of the gradients
    loss: Option<Tensor>,           // summed cross entropy, f64
    routers: Vec<Routed>,           // of earlier micro-batches, first layer first
    current: Vec<Routed>,           // of this micro-batch, last layer first
}

/// What is known of one routed layer.
#[derive(Debug)]
struct Routed {
    loss: RouterLoss, // times the share of the tokens
    tally: Tally,
}

impl Accumulated {
    pub(super) fn new(parameters: usize, kind: Kind) -> Self {
        let gradients = std::iter::repeat_with(|| None).take(parameters).collect();
        Self { gradients, kind, loss: None, routers: Vec::new(), current: Vec::new() }
    }

    /// Adds gradients of the parameters from place `first` on.
    pub(super) fn add(&mut self, first: usize, found: Vec<Option<Tensor>>) -> Result<()> {
        let _guard = no_grad_guard();
        for (sum, gradient) in self.gradients[first..].iter_mut().zip(found) {
            let Some(gradient) = gradient else { continue };
            match sum {
                Some(sum) => drop(sum.f_add_(&gradient)?),
                None => *sum = Some(gradient.f_to_kind(self.kind)?),
            }
        }
        Ok(())
    }

    /// Lets `work` add to the gradient of `parameter`, at `place`; it begins at zero.
    pub(super) fn with_gradient<T>(&mut self, place: usize, parameter: &Tensor, work: impl FnOnce(&mut Tensor) -> Result<T>) -> Result<T> {
        let sum = &mut self.gradients[place];
        if sum.is_none() {
            *sum = Some(parameter.f_detach()?.f_zeros_like()?.f_to_kind(self.kind)?);
        }
        sum.as_mut().map_or_else(|| Err(TrainError::NoGradient(format!("at place {place}"))), work)
    }

    /// Adds the gradients `pull [b, S, D]` of the rows `ids [b, S]` of an embedding.
    pub(super) fn add_rows(&mut self, place: usize, embedding: &Tensor, ids: &Tensor, pull: &Tensor) -> Result<()> {
        let _guard = no_grad_guard();
        let (ids, pull) = (ids.f_flatten(0, 1)?, pull.f_flatten(0, 1)?.f_to_kind(self.kind)?);
        self.with_gradient(place, embedding, |sum| {
            let _ = sum.f_index_add_(0, &ids, &pull)?;
            Ok(())
        })
    }

    /// Adds summed cross entropy.
    pub(super) fn add_loss(&mut self, loss: &Tensor) -> Result<()> {
        let loss = loss.f_to_kind(Kind::Double)?;
        self.loss = Some(self.loss.as_ref().map_or(Ok(loss.shallow_clone()), |sum| sum.f_add(&loss))?);
        Ok(())
    }

    /// Takes what a routed layer gave; layers come last first.
    pub(super) fn add_router(&mut self, loss: RouterLoss, tally: Tally) {
        self.current.push(Routed { loss, tally });
    }

    /// Where the assignments of a layer went in earlier micro-batches of the step.
    pub(super) fn tally_before(&self, layer: usize) -> Option<&Tally> {
        self.routers.iter().map(|routed| &routed.tally).find(|tally| tally.layer == layer)
    }

    /// Adds the routed layers of a micro-batch to those of earlier ones.
    pub(super) fn end_micro_batch(&mut self) -> Result<()> {
        let current = std::mem::take(&mut self.current).into_iter().rev();
        if self.routers.is_empty() {
            self.routers = current.collect();
            return Ok(());
        }
        for (sum, routed) in self.routers.iter_mut().zip(current) {
            sum.loss.add(&routed.loss)?;
            sum.tally.add(&routed.tally)?;
        }
        Ok(())
    }

    /// The sum over a step of `tokens`.
    pub(super) fn finish(self, tokens: f64, parameters: &[&Parameter]) -> Result<Gradients> {
        let loss = self.loss.ok_or_else(|| TrainError::Tokens("a step without sequences".into()))?;
        let named = self.gradients.into_iter().zip(parameters);
        let tensors = named.map(|(gradient, parameter)| gradient.ok_or_else(|| TrainError::NoGradient(parameter.name.clone())));
        let z = stacked(self.routers.iter().map(|routed| Some(&routed.loss.z)))?;
        let balance = stacked(self.routers.iter().map(|routed| routed.loss.balance.as_ref()))?;
        let tallies = self.routers.into_iter().map(|routed| routed.tally).collect();
        Ok(Gradients { tensors: tensors.collect::<Result<_>>()?, loss: loss.f_div_scalar(tokens)?, balance, z, tallies })
    }
}

/// `[L]` of one scalar a layer; none where there is no layer, or no such loss.
fn stacked<'a>(losses: impl Iterator<Item = Option<&'a Tensor>>) -> Result<Option<Tensor>> {
    let losses: Vec<&Tensor> = losses.flatten().collect();
    Ok(if losses.is_empty() { None } else { Some(Tensor::f_stack(&losses, 0)?) })
}
