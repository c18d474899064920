//! One step of the loop: gradients, update, balancing, and what the log says of it.

use coppice_models::state::Parameter;

use super::Trainer;
use crate::train::balancing::move_biases;
use crate::train::checkpoint;
use crate::train::clock::Clock;
use crate::train::error::{Result, TrainError};
use crate::train::experts::{Tally, routed, similarity};
use crate::train::metrics::{ExpertLoad, StepMetrics};
use crate::train::optimizer::{clip, is_router, norm};
use crate::train::step::{Gradients, Step};

impl Trainer {
    /// One optimizer step.
    pub(super) fn step(&mut self, step: u64, clock: &mut Clock) -> Result<StepMetrics> {
        let mut found = self.gradients(step)?;
        let (grad_norm, router_grad_norm) = self.norms(&found)?;
        self.finite(step - 1, "the loss of the next step", found.loss)?;
        self.finite(step - 1, "the gradient's norm in the next step", grad_norm)?;
        clip(&mut found.tensors, grad_norm, self.config.optimizer.clip_norm)?;
        let lr = self.config.schedule.rate(step, self.config.steps);
        self.optimizer.update(&found.tensors, lr)?;
        let coefficients = self.config.losses.adaptive.map(|_| self.coefficients.0.clone());
        self.balance(&found.tallies)?;
        Ok(StepMetrics {
            step,
            tokens: step * self.config.tokens_per_step(),
            loss: found.loss,
            balance: found.balance.as_deref().map(mean),
            balance_coefficient_per_layer: found.balance.as_ref().and(coefficients),
            balance_per_layer: found.balance,
            z: found.z.as_deref().map(mean),
            z_per_layer: found.z,
            lr,
            grad_norm,
            router_grad_norm,
            expert_load: self.expert_load(step, &found.tallies)?,
            tokens_per_second: clock.tick(),
        })
    }

    fn gradients(&mut self, number: u64) -> Result<Gradients> {
        let batches = self.batches.step(number, self.model.device())?;
        let parameters: Vec<&Parameter> = self.optimizer.parameters().collect();
        let (model, config, coefficients) = (&self.model, &self.config, &self.coefficients.0[..]);
        Step { model, parameters: &parameters, config, coefficients, number }.gradients(&batches)
    }

    /// What the loads of a step move without gradients.
    fn balance(&mut self, tallies: &[Tally]) -> Result<()> {
        self.coefficients.follow(tallies, &self.config.losses)?;
        move_biases(&self.model, tallies, self.config.routing.bias_update_rate)
    }

    /// Where the assignments went and what the experts are like, in the steps the recipe wants it logged.
    fn expert_load(&self, step: u64, tallies: &[Tally]) -> Result<Option<Vec<ExpertLoad>>> {
        let (load, alike) = (self.config.log.load_due(step), self.config.log.similarity_due(step, self.config.steps));
        if tallies.is_empty() || !(load || alike) {
            return Ok(None);
        }
        let config = self.model.config.moe.clone().unwrap_or_default();
        let layers = tallies.iter().zip(routed(&self.model)).map(|(tally, (layer, moe))| {
            let similarity = if alike { similarity(moe, &config, layer)? } else { None };
            Ok(ExpertLoad { similarity, ..tally.load()? })
        });
        layers.collect::<Result<_>>().map(Some)
    }

    /// Norm of the whole gradient, and of the routers' part where there are routers.
    fn norms(&self, found: &Gradients) -> Result<(f64, Option<f64>)> {
        let routers = self.optimizer.parameters().zip(&found.tensors).filter(|(parameter, _)| is_router(&parameter.name));
        let routers = found.z.as_ref().map(|_| norm(routers.map(|(_, gradient)| gradient))).transpose()?;
        Ok((norm(&found.tensors)?, routers))
    }

    /// Stops the run where the weights after `done` steps give a `value` that is not finite: their checkpoint is no good either.
    pub(super) fn finite(&self, done: u64, what: &'static str, value: f64) -> Result<()> {
        if value.is_finite() {
            return Ok(());
        }
        let good =
            checkpoint::list(&self.checkpoints())?.into_iter().rfind(|path| checkpoint::step_of(path).is_some_and(|step| step < done));
        Err(TrainError::NonFinite { step: done, what, value, checkpoint: good })
    }
}

fn mean(layers: &[f64]) -> f64 {
    layers.iter().sum::<f64>() / layers.len() as f64
}
