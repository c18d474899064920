//! AdamW with decoupled weight decay (arXiv 1711.05101), written over tensors so that its state can be saved and resumed bit by bit.
//!
//! The arithmetic is that of `torch.optim.AdamW` (not fused), in place, in f32.

use coppice_models::state::Parameter;
use tch::{Tensor, no_grad_guard};

use super::error::{Result, TrainError};
use super::recipe::OptimizerConfig;

/// A parameter with its two moments.
#[derive(Debug)]
struct Slot {
    parameter: Parameter,
    mean: Parameter,   // exponential average of the gradient, named exp_avg.{name}
    square: Parameter, // exponential average of its square, named exp_avg_sq.{name}
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

impl AdamW {
    /// An optimizer of those `parameters` that gradients train, which begin to require gradients; `weight_decay` gives the decay of each by
    /// its name.
    ///
    /// # Errors
    /// When libtorch cannot allocate the moments.
    pub fn new(parameters: Vec<Parameter>, betas: [f64; 2], eps: f64, weight_decay: impl Fn(&str) -> f64) -> Result<Self> {
        let slots = parameters.into_iter().filter(|parameter| parameter.trained).map(|parameter| {
            let weight_decay = weight_decay(&parameter.name);
            Slot::new(parameter, weight_decay)
        });
        Ok(Self { slots: slots.collect::<Result<_>>()?, betas, eps, updates: 0 })
    }

    /// The parameters, in the order gradients are given.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.slots.iter().map(|slot| &slot.parameter)
    }

    /// First and second moments, named `exp_avg.{parameter}` and `exp_avg_sq.{parameter}`, packed like their parameters.
    pub fn moments(&self) -> impl Iterator<Item = &Parameter> {
        self.slots.iter().flat_map(|slot| [&slot.mean, &slot.square])
    }

    /// How many updates were made.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Continues the count of updates of a run whose moments were restored.
    pub fn resume_at(&mut self, updates: u64) {
        self.updates = updates;
    }

    /// One update with learning rate `rate`; `gradients` in the order of [`AdamW::parameters`].
    ///
    /// # Errors
    /// When a gradient's shape is not its parameter's.
    pub fn update(&mut self, gradients: &[Tensor], rate: f64) -> Result<()> {
        let _guard = no_grad_guard();
        self.updates += 1;
        let rule = Rule::new(self.betas, self.eps, rate, self.updates);
        self.slots.iter_mut().zip(gradients).try_for_each(|(slot, gradient)| slot.update(gradient, &rule))
    }
}

/// The scalars of one update.
struct Rule {
    betas: [f64; 2],
    eps: f64,
    rate: f64,
    step: f64,     // learning rate over the first bias correction
    unbiased: f64, // root of the second bias correction
}

impl Rule {
    fn new(betas: [f64; 2], eps: f64, rate: f64, updates: u64) -> Self {
        let correction = |beta: f64| 1.0 - beta.powf(updates as f64);
        Self { betas, eps, rate, step: rate / correction(betas[0]), unbiased: correction(betas[1]).sqrt() }
    }
}

impl Slot {
    fn new(mut parameter: Parameter, weight_decay: f64) -> Result<Self> {
        let _ = parameter.tensor.f_requires_grad_(true)?; // in place: the model holds the same tensor
        let moment = |kind: &str| -> Result<Parameter> {
            let tensor = parameter.tensor.f_detach()?.f_zeros_like()?;
            Ok(Parameter { name: format!("{kind}.{}", parameter.name), tensor, packed: parameter.packed, trained: false })
        };
        Ok(Self { mean: moment("exp_avg")?, square: moment("exp_avg_sq")?, parameter, weight_decay })
    }

    fn update(&mut self, gradient: &Tensor, rule: &Rule) -> Result<()> {
        let weights = &mut self.parameter.tensor;
        if self.weight_decay > 0.0 {
            let _ = weights.f_mul_scalar_(1.0 - rule.rate * self.weight_decay)?;
        }
        let _ = self.mean.tensor.f_lerp_(gradient, 1.0 - rule.betas[0])?;
        let _ = self.square.tensor.f_lerp_(&gradient.f_square()?, 1.0 - rule.betas[1])?;
        let scale = self.square.tensor.f_sqrt()?.f_div_scalar_(rule.unbiased)?.f_add_scalar_(rule.eps)?;
        let _ = weights.f_add_(&self.mean.tensor.f_div(&scale)?.f_mul_scalar_(-rule.step)?)?;
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

/// The L2 norm of all gradients together.
///
/// # Errors
/// When libtorch fails.
pub fn norm<'a>(gradients: impl IntoIterator<Item = &'a Tensor>) -> Result<f64> {
    let norms = gradients.into_iter().map(Tensor::f_norm).collect::<std::result::Result<Vec<_>, _>>()?;
    if norms.is_empty() {
        return Ok(0.0);
    }
    Ok(Tensor::f_stack(&norms, 0)?.f_norm()?.f_double_value(&[])?)
}

/// Scales gradients whose common norm is `norm` down to `limit`, as `torch.nn.utils.clip_grad_norm_` does; 0 = no limit.
///
/// # Errors
/// When libtorch fails.
pub fn clip(gradients: &mut [Tensor], norm: f64, limit: f64) -> Result<()> {
    let factor = limit / (norm + 1e-6);
    if limit > 0.0 && factor < 1.0 {
        for gradient in gradients {
            let _ = gradient.f_mul_scalar_(factor)?;
        }
    }
    Ok(())
}

/// Every gradient, or the name of the first parameter that has none.
///
/// # Errors
/// [`TrainError::NoGradient`].
pub(super) fn all_defined<'a>(gradients: &[Tensor], parameters: impl Iterator<Item = &'a Parameter>) -> Result<()> {
    match parameters.zip(gradients).find(|(_, gradient)| !gradient.defined()) {
        Some((parameter, _)) => Err(TrainError::NoGradient(parameter.name.clone())),
        None => Ok(()),
    }
}
