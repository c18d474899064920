//! One step's forward and backward passes: micro-batches in, accumulated gradients and losses out.

mod accumulated;
mod routers;

use coppice_models::Model;
use coppice_models::init::stream;
use coppice_models::model::Memory;
use coppice_models::moe::Routing;
use coppice_models::state::Parameter;
use rand::Rng;
use tch::{Kind, Tensor};

use self::accumulated::{Accumulated, Part};
use self::routers::RouterLosses;
use super::data::shifted;
use super::error::Result;
use super::experts::Tally;
use super::losses::{HeadGradients, cross_entropy_gradients};
use super::optimizer::all_defined;
use super::recipe::TrainConfig;

// b sequences of a micro-batch, S tokens of each, T all of them, D hidden, L routed layers.

/// What a step's passes found, before the optimizer moves anything.
#[derive(Debug)]
pub(super) struct Gradients {
    /// One gradient a parameter.
    pub(super) tensors: Vec<Tensor>,
    /// Mean cross entropy per token, nats.
    pub(super) loss: f64,
    /// Balance loss of each routed layer, mean over tokens; none for a dense model and with expert choice.
    pub(super) balance: Option<Vec<f64>>,
    /// Z-loss of each routed layer, mean over tokens; none for a dense model.
    pub(super) z: Option<Vec<f64>>,
    /// Where the assignments went, one a routed layer.
    pub(super) tallies: Vec<Tally>,
}

/// One step of a run: what its passes need besides tokens.
pub(super) struct Step<'a> {
    pub(super) model: &'a Model,
    /// In the order of the gradients.
    pub(super) parameters: &'a [&'a Parameter],
    pub(super) config: &'a TrainConfig,
    /// Coefficients of the balance loss, one a routed layer.
    pub(super) coefficients: &'a [f64],
    /// Counted from 1.
    pub(super) number: u64,
}

impl Step<'_> {
    /// Runs all micro-batches `[b, S + 1]` through the model and accumulates the gradients of
    /// `mean cross entropy + coefficients * router losses`.
    ///
    /// # Errors
    /// When the model refuses, or a parameter took no part.
    pub(super) fn gradients(&self, batches: &[Tensor]) -> Result<Gradients> {
        let tokens: i64 = batches.iter().map(predicted).sum();
        let mut sum = Accumulated::default();
        for (index, batch) in batches.iter().enumerate() {
            self.seed_noise(index);
            sum.add(self.micro_batch(batch, tokens, sum.tallies())?)?;
        }
        sum.finish(tokens)
    }

    /// The noise of a micro-batch follows from seed, step and place alone, so that a resumed run draws the same.
    fn seed_noise(&self, index: usize) {
        if self.config.routing.jitter > 0.0 {
            let draw = stream(self.config.seed, &format!("jitter {} {index}", self.number)).next_u64();
            tch::manual_seed(draw.cast_signed());
        }
    }

    /// One micro-batch of a step of `tokens`, in which `seen` went before.
    fn micro_batch(&self, batch: &Tensor, tokens: i64, seen: &[Tally]) -> Result<Part> {
        let (inputs, targets) = shifted(batch)?;
        let (hidden, routings) = self.forward(&inputs)?;
        let head = cross_entropy_gradients(&hidden, &self.model.lm_head, &targets.f_flatten(0, 1)?, 1.0 / tokens as f64)?;
        // The gradient at the hidden states is known: the rest of the graph is run through its product with them.
        let mut objective = hidden.f_mul(&head.hidden)?.f_sum(Kind::Float)?;
        let router = RouterLosses::new(self, &routings, inputs.size2()?.1, seen)?;
        let router = router.map(|losses| losses.times(predicted(batch) as f64 / tokens as f64)).transpose()?;
        if let Some(losses) = &router {
            objective = objective.f_add(&losses.weighted(self.coefficients, self.config.losses.z_coefficient)?)?;
        }
        let gradients = self.backward(&objective, &head)?;
        let capacity = self.config.routing.capacity;
        let tallies = routings.into_iter().map(|routing| Tally::new(routing, capacity)).collect::<Result<_>>()?;
        Ok(Part { gradients, loss: head.loss, router: router.map(|losses| losses.detached()).transpose()?, tallies })
    }

    /// Hidden states `[T, D]` of `inputs [b, S]`, and what every router did.
    fn forward(&self, inputs: &Tensor) -> Result<(Tensor, Vec<Routing>)> {
        let mut pass = self.model.pass(inputs.size2()?.1, Memory::None)?;
        (pass.routings, pass.training) = (Some(Vec::new()), Some(self.config.routing.training()));
        let hidden = self.model.hidden(inputs, &mut pass)?.f_flatten(0, 1)?;
        Ok((hidden, pass.routings.unwrap_or_default()))
    }

    /// Gradients of `objective`; the head's own, known already, is added to the tensor it is (the embedding, where they are tied).
    fn backward(&self, objective: &Tensor, head: &HeadGradients) -> Result<Vec<Tensor>> {
        let tensors: Vec<&Tensor> = self.parameters.iter().map(|parameter| &parameter.tensor).collect();
        let mut gradients = Tensor::f_run_backward(&[objective], &tensors, false, false)?;
        for (gradient, tensor) in gradients.iter_mut().zip(tensors) {
            if tensor.data_ptr() == self.model.lm_head.data_ptr() {
                let own = head.head.shallow_clone();
                *gradient = if gradient.defined() { gradient.f_add_(&own)? } else { own };
            }
        }
        all_defined(&gradients, self.parameters.iter().copied())?;
        Ok(gradients)
    }
}

/// Predicted tokens of a block `[b, S + 1]`.
fn predicted(block: &Tensor) -> i64 {
    block.size2().map_or(0, |(rows, width)| rows * (width - 1))
}
