//! One step's forward and backward passes: micro-batches in, summed gradients and losses out.
//!
//! The backward pass goes layer by layer over graphs of their own, from the last to the first. So a layer's activations can be computed
//! again instead of kept, and its gradients are final, and can travel, while those before it are still to come.

mod accumulated;
mod layout;
mod passed;
mod routers;

use coppice_models::Model;
use coppice_models::ext::training::{Pull, backward};
use coppice_models::model::{Memory, Pass};
use coppice_models::state::Parameter;
use tch::Tensor;

use self::accumulated::Accumulated;
pub(super) use self::layout::Layout;
use self::passed::Stage;
use self::routers::RouterLoss;
use super::data::Batch;
use super::error::{Result, TrainError};
use super::experts::{Tally, routed};
use super::losses::{Head, cross_entropy_gradients};
use super::recipe::TrainConfig;

// b sequences of a micro-batch, S tokens of each, T all of them, D hidden, V vocabulary, L routed layers.

/// What a step's passes found, before the optimizer moves anything. Nothing of it has been waited for.
#[derive(Debug)]
pub(super) struct Gradients {
    /// One gradient a parameter.
    pub(super) tensors: Vec<Tensor>,
    /// Mean cross entropy per token, nats; a scalar, f64.
    pub(super) loss: Tensor,
    /// Balance loss of each routed layer, mean over tokens, `[L]`, f32; none for a dense model and with expert choice.
    pub(super) balance: Option<Tensor>,
    /// Z-loss of each routed layer, mean over tokens, `[L]`, f32; none for a dense model.
    pub(super) z: Option<Tensor>,
    /// Where the assignments went, one a routed layer.
    pub(super) tallies: Vec<Tally>,
}

/// One step of a run: what its passes need besides tokens.
pub(super) struct Step<'a> {
    pub(super) model: &'a Model,
    /// In the order of the gradients.
    pub(super) parameters: &'a [&'a Parameter],
    pub(super) layout: &'a Layout,
    pub(super) config: &'a TrainConfig,
    /// Which layers compute their activations again.
    pub(super) recompute: &'a [bool],
    /// Coefficients of the balance loss, one a routed layer.
    pub(super) coefficients: &'a [f64],
    /// Counted from 1.
    pub(super) number: u64,
}

impl Step<'_> {
    /// Runs all micro-batches through the model and sums the gradients of `mean cross entropy + coefficients * router losses`.
    ///
    /// # Errors
    /// When the model refuses, or a parameter took no part.
    pub(super) fn gradients(&self, batches: &[Batch]) -> Result<Gradients> {
        let kind = self.config.precision.gradients(batches.len());
        let mut sum = Accumulated::new(self.parameters.len(), kind);
        for (index, batch) in batches.iter().enumerate() {
            self.micro_batch(index, batch, &mut sum)?;
        }
        sum.finish(self.tokens(), self.parameters)
    }

    fn tokens(&self) -> f64 {
        self.config.tokens_per_step() as f64
    }

    /// Adds what micro-batch `index` of the step gives.
    fn micro_batch(&self, index: usize, batch: &Batch, sum: &mut Accumulated) -> Result<()> {
        let (inputs, targets) = batch.shifted()?;
        let (share, length) = (batch.tokens() as f64 / self.tokens(), inputs.size2()?.1);
        let mut micro = MicroBatch { step: self, index, pass: self.pass(batch, length)?, share, length };
        let (stages, last) = micro.forward(&inputs)?;
        let mut pull = self.head(&last, &targets, sum)?;
        for (layer, stage) in stages.into_iter().enumerate().rev() {
            pull = micro.backward(layer, stage, &pull, sum)?;
        }
        sum.add_rows(self.layout.embedding, &self.model.embed_tokens, &inputs, &pull)?;
        sum.end_micro_batch()
    }

    /// A pass for the sequences of `batch`, with what only training does.
    fn pass(&self, batch: &Batch, length: i64) -> Result<Pass<'static>> {
        let pass = match &batch.starts {
            Some(starts) => self.model.packed_pass(length, starts)?,
            None => self.model.pass(length, Memory::None)?,
        };
        Ok(Pass { routings: Some(Vec::new()), training: Some(self.config.routing.training()), ..pass })
    }

    /// Final norm, head and cross entropy on the residual stream `last [b, S, D]`: their gradients, and the gradient at the stream.
    fn head(&self, last: &Tensor, targets: &Tensor, sum: &mut Accumulated) -> Result<Tensor> {
        let hidden = self.model.norm.forward(last)?.f_flatten(0, 1)?; // [T, D]
        let Head { loss, pull } = sum.with_gradient(self.layout.head, &self.model.lm_head, |gradient| {
            cross_entropy_gradients(&hidden, &self.model.lm_head, &targets.f_flatten(0, 1)?, 1.0 / self.tokens(), gradient)
        })?;
        sum.add_loss(&loss)?;
        let range = self.layout.norm.clone();
        let inputs: Vec<&Tensor> = std::iter::once(last).chain(self.parameters[range.clone()].iter().map(|p| &p.tensor)).collect();
        let mut found = backward(&[Pull { output: &hidden, gradient: Some(&pull) }], &inputs)?;
        let pull = found.remove(0).ok_or_else(|| TrainError::NoGradient("model.norm".into()))?;
        sum.add(range.start, found)?;
        Ok(pull)
    }
}

/// The passes of one micro-batch.
struct MicroBatch<'a> {
    step: &'a Step<'a>,
    index: usize,
    pass: Pass<'static>,
    /// Its share of the step's tokens.
    share: f64,
    /// `S`.
    length: i64,
}

impl MicroBatch<'_> {
    /// What layer `layer` made of its input, and the gradients of it given `pull`, the gradient at its output: adds those of its
    /// parameters and returns the one at its input.
    fn backward(&mut self, layer: usize, stage: Stage, pull: &Tensor, sum: &mut Accumulated) -> Result<Tensor> {
        let Stage { input, passed } = stage;
        let passed = passed.map_or_else(|| self.run(layer, &input), Ok)?;
        let loss = |routing| RouterLoss::new(self.step, routing, self.length, sum.tally_before(layer));
        let router = passed.routing.as_ref().map(loss).transpose()?;
        let weighted = router.as_ref().map(|loss| self.weighted(layer, loss)).transpose()?;
        let output = Pull { output: &passed.output, gradient: Some(pull) };
        let pulls: Vec<Pull> = std::iter::once(output).chain(weighted.as_ref().map(|output| Pull { output, gradient: None })).collect();
        let range = self.step.layout.layers[layer].clone();
        let parameters = self.step.parameters[range.clone()].iter().map(|parameter| &parameter.tensor);
        let mut found = backward(&pulls, &std::iter::once(&input).chain(parameters).collect::<Vec<_>>())?;
        let at_input = found.remove(0).ok_or_else(|| TrainError::NoGradient(format!("model.layers.{layer}")))?;
        sum.add(range.start, found)?;
        if let (Some(loss), Some(routing)) = (router, passed.routing) {
            sum.add_router(loss.times(self.share)?, Tally::new(routing, self.step.config.routing.capacity)?);
        }
        Ok(at_input)
    }

    /// What the router loss of `layer` adds to the objective.
    fn weighted(&self, layer: usize, loss: &RouterLoss) -> Result<Tensor> {
        let Step { model, coefficients, config, .. } = self.step;
        let place = routed(model).take_while(|&(index, _)| index < layer).count();
        let whole = loss.weighted(coefficients[place], config.losses.z_coefficient)?;
        Ok(whole.f_mul_scalar(self.share / coefficients.len() as f64)?)
    }
}
