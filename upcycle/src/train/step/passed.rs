//! The forward pass: every layer on a graph of its own.

use coppice_models::init::stream;
use coppice_models::moe::Routing;
use rand::Rng;
use tch::{Tensor, no_grad};

use super::MicroBatch;
use crate::train::error::Result;

// b sequences, S tokens, D hidden.

/// What a layer made of its input.
#[derive(Debug)]
pub(super) struct Passed {
    /// `[b, S, D]`.
    pub(super) output: Tensor,
    /// What its router did, where it has one.
    pub(super) routing: Option<Routing>,
}

/// A layer on its way to the backward pass.
#[derive(Debug)]
pub(super) struct Stage {
    /// `[b, S, D]`, the root of the layer's graph.
    pub(super) input: Tensor,
    /// None where it is computed again.
    pub(super) passed: Option<Passed>,
}

impl MicroBatch<'_> {
    /// All layers on `inputs [b, S]`, and the residual stream after the last, `[b, S, D]`, a root.
    pub(super) fn forward(&mut self, inputs: &Tensor) -> Result<(Vec<Stage>, Tensor)> {
        let mut input = root(&no_grad(|| self.step.model.embed(inputs))?)?;
        let mut stages = Vec::with_capacity(self.step.model.layers.len());
        for (layer, &again) in self.step.recompute.iter().enumerate() {
            let passed = if again { no_grad(|| self.run(layer, &input))? } else { self.run(layer, &input)? };
            let next = root(&passed.output)?;
            stages.push(Stage { input, passed: (!again).then_some(passed) });
            input = next;
        }
        Ok((stages, input))
    }

    /// One layer on its input; the same bits every time.
    pub(super) fn run(&mut self, layer: usize, input: &Tensor) -> Result<Passed> {
        self.seed_noise(layer);
        let output = self.step.model.layers[layer].forward(input, &mut self.pass)?;
        Ok(Passed { output, routing: self.pass.routings.as_mut().and_then(Vec::pop) })
    }

    /// The noise of a layer follows from seed, step and place alone, so that a resumed run, or a second pass, draws the same.
    fn seed_noise(&self, layer: usize) {
        if self.step.config.routing.jitter > 0.0 {
            let name = format!("jitter {} {} {layer}", self.step.number, self.index);
            tch::manual_seed(stream(self.step.config.seed, &name).next_u64().cast_signed());
        }
    }
}

/// The tensor without its history, wanting a gradient.
fn root(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_detach()?.f_set_requires_grad(true)?)
}
