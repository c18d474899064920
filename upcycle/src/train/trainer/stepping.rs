//! One step of the loop: gradients, update, balancing, and what the log says of it.

use std::path::PathBuf;

use coppice_models::state::Parameter;
use tch::{Kind, Tensor};

use super::Trainer;
use crate::train::balancing::move_biases;
use crate::train::checkpoint;
use crate::train::clock::Clock;
use crate::train::data::Batch;
use crate::train::error::{Result, TrainError};
use crate::train::experts::{Tally, routed, similarity};
use crate::train::metrics::{ExpertLoad, StepMetrics};
use crate::train::optimizer::{Norms, Update, norms};
use crate::train::step::{Gradients, Step};

impl Trainer {
    /// One optimizer step on its batches. The host waits for the device once, at the end: an update by a gradient that is not finite is left
    /// out by the device itself, and what was found is read when all work is under way.
    pub(super) fn step(&mut self, step: u64, batches: Vec<Batch>, clock: &mut Clock) -> Result<StepMetrics> {
        let found = self.gradients(step, batches)?;
        let norms = norms(self.optimizer.parameters(), &found.tensors, &self.ranks)?;
        self.update(step, &found.tensors, &norms)?;
        let Told { loss, grad_norm, router_grad_norm, balance, z } = Told::read(&found, &norms)?;
        self.finite(step, "the loss", loss)?;
        self.finite(step, "the gradient's norm", grad_norm)?;
        let coefficients = self.config.losses.adaptive.map(|_| self.coefficients.0.clone());
        self.balance(&found.tallies)?;
        let tokens_per_second = clock.tick();
        Ok(StepMetrics {
            step,
            tokens: step * self.config.tokens_per_step(),
            loss,
            balance: balance.as_deref().map(mean),
            balance_coefficient_per_layer: balance.as_ref().and(coefficients),
            balance_per_layer: balance,
            z: z.as_deref().map(mean),
            z_per_layer: z,
            lr: self.config.schedule.rate(step, self.config.steps),
            grad_norm,
            router_grad_norm,
            expert_load: self.expert_load(step, &found.tallies)?,
            tokens_per_second,
            flops_per_second: Some(tokens_per_second * self.hardware.flops_per_token),
            mfu: self.hardware.utilisation(tokens_per_second, self.ranks.size()),
            peak_memory_bytes: self.hardware.peak_memory(),
        })
    }

    pub(super) fn gradients(&self, number: u64, batches: Vec<Batch>) -> Result<Gradients> {
        let batches = batches.into_iter().map(|batch| batch.on(self.model.device())).collect::<Result<Vec<_>>>()?;
        let parameters: Vec<&Parameter> = self.optimizer.parameters().collect();
        let (model, config, coefficients) = (&self.model, &self.config, &self.coefficients.0[..]);
        let (layout, recompute) = (&self.layout, &self.recompute[..]);
        Step { model, parameters: &parameters, layout, config, recompute, coefficients, number, ranks: &self.ranks }.gradients(&batches)
    }

    /// Moves the weights by the clipped gradient, unless it is not finite.
    pub(super) fn update(&mut self, step: u64, gradients: &[Tensor], norms: &Norms) -> Result<()> {
        let divisor = norms.divisor(self.config.optimizer.clip_norm)?;
        // On a CPU nothing is waited for, and a divisor of 1 would cost a pass over all gradients.
        let clips = |divisor: &Tensor| divisor.device().is_cuda() || divisor.double_value(&[]) > 1.0;
        let (grad_scale, not_finite) = (divisor.filter(clips), norms.not_finite()?);
        let rate = self.config.schedule.rate(step, self.config.steps);
        self.optimizer.update(gradients, &Update { rate, grad_scale: grad_scale.as_ref(), found_inf: Some(&not_finite) })
    }

    /// What the loads of a step move without gradients.
    fn balance(&mut self, tallies: &[Tally]) -> Result<()> {
        self.coefficients.follow(tallies, &self.config.losses)?;
        move_biases(&self.model, tallies, self.config.routing.bias_update_rate)
    }

    /// Where the assignments went and what the experts are like, in the steps the recipe wants it logged.
    fn expert_load(&self, step: u64, tallies: &[Tally]) -> Result<Option<Vec<ExpertLoad>>> {
        let (load, alike) = (self.config.log.load_due(step), self.config.log.similarity_due(step, self.config.steps));
        let alike = alike && !self.ranks.spreads(); // no rank has all experts
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

    /// Stops the run where step `step` finds a `value` that is not finite: then the weights before it are no good already.
    pub(super) fn finite(&self, step: u64, what: &'static str, value: f64) -> Result<()> {
        if value.is_finite() {
            return Ok(());
        }
        let documents = self.batches.clone().documents(step);
        Err(TrainError::NonFinite { step, what, value, documents, checkpoint: self.older_than(step - 1)? })
    }

    /// The newest checkpoint of fewer than `steps` steps.
    pub(super) fn older_than(&self, steps: u64) -> Result<Option<PathBuf>> {
        let older = |path: &PathBuf| checkpoint::step_of(path).is_some_and(|step| step < steps);
        Ok(checkpoint::list(&self.checkpoints())?.into_iter().rfind(older))
    }
}

/// What the host reads of a step.
struct Told {
    loss: f64,
    grad_norm: f64,
    router_grad_norm: Option<f64>,
    balance: Option<Vec<f64>>,
    z: Option<Vec<f64>>,
}

impl Told {
    /// Reads everything at once: the only time the host waits for the device.
    fn read(found: &Gradients, norms: &Norms) -> Result<Self> {
        let layers = found.tallies.len();
        let flat = |tensor: &Tensor| -> Result<Tensor> { Ok(tensor.f_to_kind(Kind::Double)?.f_view([-1])?) };
        let optional = [norms.routers.as_ref(), found.balance.as_ref(), found.z.as_ref()];
        let parts = [Some(&found.loss), Some(&norms.whole)].into_iter().chain(optional).flatten().map(flat);
        let mut values = Vec::<f64>::try_from(Tensor::f_cat(&parts.collect::<Result<Vec<_>>>()?, 0)?)?.into_iter();
        let mut next = |count: usize| values.by_ref().take(count).collect::<Vec<_>>();
        let [loss, grad_norm] = [next(1)[0], next(1)[0]];
        let router_grad_norm = norms.routers.as_ref().map(|_| next(1)[0]);
        let balance = found.balance.as_ref().map(|_| next(layers));
        Ok(Self { loss, grad_norm, router_grad_norm, balance, z: found.z.as_ref().map(|_| next(layers)) })
    }
}

fn mean(layers: &[f64]) -> f64 {
    layers.iter().sum::<f64>() / layers.len() as f64
}
