//! AdamW with decoupled weight decay (arXiv 1711.05101), its state in tensors that can be saved and resumed bit by bit.
//!
//! The arithmetic is that of `torch.optim.AdamW(fused=True)`. Where parameters are bf16 and a master copy is kept, the update is made on the
//! copy, in f32, and rounded into the parameter.

mod clipping;
mod inherited;

use coppice_models::ext::training::{AdamWUpdate, Slots};
use coppice_models::state::Parameter;
use tch::{Device, Kind, Tensor, no_grad_guard};

pub use self::clipping::{Norms, norms};
pub use self::inherited::Inherited;
use super::error::Result;
use super::recipe::{OptimizerConfig, Precision};

/// A parameter with what the optimizer keeps of it.
#[derive(Debug)]
struct Slot {
    parameter: Parameter,
    master: Option<Parameter>, // the parameter in f32, named master.{name}
    mean: Parameter,           // exponential average of the gradient, named exp_avg.{name}
    square: Parameter,         // exponential average of its square, named exp_avg_sq.{name}
    weight_decay: f64,
}

/// The optimizer: parameters, moments, and how many updates were made.
#[derive(Debug)]
pub struct AdamW {
    slots: Vec<Slot>,
    betas: [f64; 2],
    eps: f64,
    updates: u64,
}

/// How one update is made.
#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    /// Learning rate.
    pub rate: f64,
    /// Gradients are divided by this scalar tensor, f32.
    pub grad_scale: Option<&'a Tensor>,
    /// The update is left out where this scalar tensor, f32, is 1.
    pub found_inf: Option<&'a Tensor>,
}

impl AdamW {
    /// An optimizer of those `parameters` that gradients train, which begin to require gradients; `weight_decay` gives the decay of each by
    /// its name.
    ///
    /// # Errors
    /// When libtorch cannot allocate the state.
    pub fn new(
        parameters: Vec<Parameter>,
        betas: [f64; 2],
        eps: f64,
        precision: Precision,
        weight_decay: impl Fn(&str) -> f64,
    ) -> Result<Self> {
        let trained = parameters.into_iter().filter(|parameter| parameter.trained);
        let slots = trained.map(|parameter| {
            let weight_decay = weight_decay(&parameter.name);
            Slot::new(parameter, weight_decay, precision)
        });
        Ok(Self { slots: slots.collect::<Result<_>>()?, betas, eps, updates: 0 })
    }

    /// The parameters, in the order gradients are given.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.slots.iter().map(|slot| &slot.parameter)
    }

    /// All that is kept of the parameters, packed like them: moments, named `exp_avg.{parameter}` and `exp_avg_sq.{parameter}`, and master
    /// copies, `master.{parameter}`.
    pub fn state(&self) -> impl Iterator<Item = &Parameter> {
        self.slots.iter().flat_map(|slot| [Some(&slot.mean), Some(&slot.square), slot.master.as_ref()].into_iter().flatten())
    }

    /// Takes the master copies from `exact`, which gives the f32 value of a stored parameter by its name: what a model that was loaded in
    /// bf16 has lost of a file in f32.
    ///
    /// # Errors
    /// Those of `exact`, and when a shape is not the parameter's.
    pub fn take_masters(&mut self, exact: impl Fn(&str) -> Result<Tensor>) -> Result<()> {
        let _guard = no_grad_guard();
        for (slot, master) in self.slots.iter().filter_map(|slot| Some((slot, slot.master.as_ref()?))) {
            for ((name, _), (_, mut target)) in slot.parameter.stored()?.into_iter().zip(master.stored()?) {
                target.f_copy_(&exact(&name)?)?;
            }
        }
        Ok(())
    }

    /// How many updates were made.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Continues the count of updates of a run whose moments were restored.
    pub fn resume_at(&mut self, updates: u64) {
        self.updates = updates;
    }

    /// One update by `gradients`, in the order of [`AdamW::parameters`].
    ///
    /// # Errors
    /// When a gradient's shape is not its parameter's.
    pub fn update(&mut self, gradients: &[Tensor], update: &Update) -> Result<()> {
        let _guard = no_grad_guard();
        self.updates += 1;
        let device = self.slots.first().map_or(Device::Cpu, |slot| slot.parameter.tensor.device());
        let step = Tensor::f_full([], self.updates as f64, (Kind::Float, device))?;
        let rule = AdamWUpdate {
            rate: update.rate,
            betas: self.betas,
            eps: self.eps,
            weight_decay: 0.0,
            step: &step,
            grad_scale: update.grad_scale,
            found_inf: update.found_inf,
        };
        if self.slots.iter().any(|slot| slot.master.is_some()) {
            return self.slots.iter().zip(gradients).try_for_each(|(slot, gradient)| slot.update_master(gradient, rule));
        }
        self.decays().into_iter().try_for_each(|weight_decay| self.update_all(gradients, AdamWUpdate { weight_decay, ..rule }))
    }

    /// The weight decays in use.
    fn decays(&self) -> Vec<f64> {
        let mut decays: Vec<f64> = self.slots.iter().map(|slot| slot.weight_decay).collect();
        decays.sort_by(f64::total_cmp);
        decays.dedup();
        decays
    }

    /// Updates all parameters of one weight decay at once.
    fn update_all(&self, gradients: &[Tensor], rule: AdamWUpdate) -> Result<()> {
        let chosen = || self.slots.iter().zip(gradients).filter(|(slot, _)| slot.weight_decay.total_cmp(&rule.weight_decay).is_eq());
        let [mut parameters, mut means, mut squares, mut pulls] = [const { Vec::new() }; 4];
        for (slot, gradient) in chosen() {
            parameters.push(&slot.parameter.tensor);
            means.push(&slot.mean.tensor);
            squares.push(&slot.square.tensor);
            pulls.push(gradient);
        }
        Ok(rule.apply(Slots { parameters: &parameters, gradients: &pulls, means: &means, squares: &squares })?)
    }
}

impl Slot {
    fn new(mut parameter: Parameter, weight_decay: f64, precision: Precision) -> Result<Self> {
        let _ = parameter.tensor.f_requires_grad_(true)?; // in place: the model holds the same tensor
        let weights = parameter.tensor.f_detach()?;
        let kept = |kind: &str, tensor| Parameter {
            name: format!("{kind}.{}", parameter.name),
            tensor,
            packed: parameter.packed,
            first: parameter.first,
            trained: false,
        };
        let moment = || -> Result<Tensor> { Ok(Tensor::f_zeros(weights.size(), (precision.moments(), weights.device()))?) };
        let (mean, square) = (kept("exp_avg", moment()?), kept("exp_avg_sq", moment()?));
        let master = if precision.has_master() { Some(kept("master", weights.f_to_kind(Kind::Float)?)) } else { None };
        Ok(Self { parameter, master, mean, square, weight_decay })
    }

    /// Updates the master copy and rounds it into the parameter.
    fn update_master(&self, gradient: &Tensor, rule: AdamWUpdate) -> Result<()> {
        let Some(master) = &self.master else { return Ok(()) };
        let gradient = gradient.f_to_kind(Kind::Float)?;
        let (parameters, gradients) = ([&master.tensor], [&gradient]);
        let (means, squares) = ([&self.mean.tensor], [&self.square.tensor]);
        let slots = Slots { parameters: &parameters, gradients: &gradients, means: &means, squares: &squares };
        AdamWUpdate { weight_decay: self.weight_decay, ..rule }.apply(slots)?;
        self.parameter.tensor.shallow_clone().f_copy_(&master.tensor)?;
        Ok(())
    }
}

impl OptimizerConfig {
    /// The weight decay of a parameter: matrices (the embedding too) always decay, the others where the recipe says so.
    pub fn decay_of(&self, name: &str) -> f64 {
        let decays = match () {
            () if name.ends_with(".bias") => self.decay_biases,
            () if name.contains("norm") => self.decay_norms,
            () if is_router(name) => self.decay_router,
            () => true,
        };
        if decays { self.weight_decay } else { 0.0 }
    }
}

/// Whether a parameter is a router's matrix.
pub fn is_router(name: &str) -> bool {
    name.ends_with(".mlp.gate.weight")
}
