//! The passes themselves: a prefill, a step of decoding, a step of training.

use std::time::Instant;

use tch::{Kind, Tensor};

use super::{Executed, Probe, wait};
use crate::cache::Cache;
use crate::error::Result;
use crate::ext::tally::tally;
use crate::ext::training::{Pull, backward};
use crate::generate::prefill;
use crate::model::{Memory, Model};
use crate::score::pad;
use crate::state::Parameter;

// B sequences, S tokens, V vocabulary.

/// What every pass needs.
pub(super) struct Passes<'a, 'b> {
    /// The model.
    pub(super) model: &'a Model,
    /// How much of it to run.
    pub(super) probe: &'a Probe,
    /// Called between passes.
    pub(super) between: &'b mut dyn FnMut() -> Result<()>,
}

impl Passes<'_, '_> {
    pub(super) fn prefill(&mut self) -> Result<Executed> {
        let (model, probe) = (self.model, self.probe);
        let prompts = probe.prompts(model, probe.context);
        let run = || wait(&start(model, &prompts, 1)?.1);
        let parameters = model.parameters();
        let found = tally(&tensors(&parameters), run)?.1;
        let seconds = self.time(run)?;
        Ok(Executed::new(model, &found, probe.batch * probe.context, seconds))
    }

    pub(super) fn decode(&mut self) -> Result<Executed> {
        let (model, probe) = (self.model, self.probe);
        let prompts = probe.prompts(model, probe.context - 1);
        let mut cache = start(model, &prompts, probe.repeats as i64 + 1)?.0;
        let tokens: Vec<i64> = probe.prompts(model, 1).concat();
        let ids = Tensor::f_from_slice(&tokens)?.f_to(model.device())?;
        let parameters = model.parameters();
        let keys: Vec<Tensor> = cache.tensors().into_iter().map(Tensor::shallow_clone).collect();
        let watched: Vec<&Tensor> = tensors(&parameters).into_iter().chain(&keys).collect();
        let mut step = || wait(&model.logits(&model.decode(&ids, &mut cache)?)?);
        let found = tally(&watched, &mut step)?.1;
        let seconds = self.time(step)?;
        Ok(Executed::new(model, &found, probe.batch, seconds))
    }

    pub(super) fn training(&mut self) -> Result<Executed> {
        let (model, probe) = (self.model, self.probe);
        let prompts = probe.prompts(model, probe.context);
        let parameters = model.parameters();
        let trained = Trained::new(&parameters)?;
        let run = || train(model, &prompts, &trained);
        let found = tally(&tensors(&parameters), run)?.1;
        let seconds = self.time(run)?;
        Ok(Executed::new(model, &found, probe.batch * probe.context, seconds))
    }

    /// The median time of a pass.
    fn time(&mut self, mut pass: impl FnMut() -> Result<()>) -> Result<f64> {
        let mut seconds = Vec::with_capacity(self.probe.repeats);
        for _ in 0..self.probe.repeats {
            (self.between)()?;
            let begin = Instant::now();
            pass()?;
            seconds.push(begin.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[seconds.len() / 2])
    }
}

/// A cache that holds the prompts, with room for `capacity` more tokens, and the logits `[B, V]` after them.
fn start(model: &Model, prompts: &[Vec<i64>], capacity: i64) -> Result<(Cache, Tensor)> {
    let (ids, lengths) = pad(prompts, model)?;
    let mut cache = Cache::new(&model.config, &lengths, 1, capacity, model.kind(), model.device())?;
    let hidden = prefill(model, &ids, &lengths, &mut cache)?;
    let logits = model.logits(&hidden)?;
    Ok((cache, logits))
}

/// Forward and backward pass of the mean cross entropy of the tokens, each the target of its own position: what is learned does not matter
/// to what is computed.
fn train(model: &Model, prompts: &[Vec<i64>], trained: &Trained) -> Result<()> {
    let (ids, _) = pad(prompts, model)?;
    let hidden = model.hidden(&ids, &mut model.pass(ids.size2()?.1, Memory::None)?)?;
    let logits = model.logits(&hidden)?.f_flatten(0, 1)?; // [B*S, V]
    let loss = logits.f_log_softmax(-1, Kind::Float)?.f_gather(1, &ids.f_view([-1, 1])?, false)?.f_mean(Kind::Float)?.f_neg()?;
    let gradients = backward(&[Pull { output: &loss, gradient: None }], &trained.0.iter().collect::<Vec<_>>())?;
    gradients.iter().flatten().take(1).try_for_each(wait)
}

fn tensors(parameters: &[Parameter]) -> Vec<&Tensor> {
    parameters.iter().map(|parameter| &parameter.tensor).collect()
}

/// Parameters that want gradients, until this is dropped.
struct Trained(Vec<Tensor>);

impl Trained {
    fn new(parameters: &[Parameter]) -> Result<Self> {
        let trained = parameters.iter().filter(|parameter| parameter.trained);
        let mut wanting = Self(trained.map(|parameter| parameter.tensor.shallow_clone()).collect());
        wanting.0.iter_mut().try_for_each(|tensor| tensor.f_requires_grad_(true).map(drop))?;
        Ok(wanting)
    }
}

impl Drop for Trained {
    fn drop(&mut self) {
        for tensor in &mut self.0 {
            let _ = tensor.f_requires_grad_(false);
        }
    }
}
