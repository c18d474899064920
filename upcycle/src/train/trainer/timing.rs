//! What a step of a model will take on this machine, by steps of its parts: embedding and head alone, and one layer of each kind with
//! them.

use std::time::Instant;

use coppice_models::config::MoeConfig;
use coppice_models::init::Source;
use coppice_models::{Config, Model};
use tch::{Device, Kind, Tensor};

use super::Trainer;
use crate::train::data::TokenStream;
use crate::train::error::{Result, TrainError};
use crate::train::optimizer::norms;
use crate::train::recipe::{Recompute, TrainConfig};

/// Steps of each part, after one that is not counted.
const REPEATS: usize = 3;

/// Spread of the weights, so that routers choose.
const SPREAD: f64 = 0.02;

/// Seconds of one step of a part.
#[derive(Debug, Clone, Copy, Default)]
struct Seconds {
    pass: f64,   // forward and backward of one micro-batch
    update: f64, // of the optimizer
}

/// Seconds of one optimizer step of a model of `config` trained as `train` says in one process: medians, layers taken for alike. Layers
/// that compute their activations again take a third more.
///
/// # Errors
/// When memory is lacking for the embedding, the head and one layer with their optimizer's state.
pub fn seconds_per_step(config: &Config, train: &TrainConfig, device: Device) -> Result<f64> {
    let again = train.recompute.resolve(config.num_hidden_layers).map_err(|error| TrainError::Recipe(format!("recompute: {error}")))?;
    let ends = timed(config, train, device, 0, None)?;
    let mut whole = ends;
    for routed in [false, true] {
        let alike = |&(layer, _): &(usize, &bool)| config.moe_layer(layer).is_some() == routed;
        let layers: Vec<bool> = again.iter().enumerate().filter(alike).map(|(_, &again)| again).collect();
        if layers.is_empty() {
            continue;
        }
        let moe = config.moe.clone().filter(|_| routed).map(|moe| MoeConfig { layers: vec![0], ..moe });
        let one = timed(config, train, device, 1, moe)?;
        let weight: f64 = layers.iter().map(|&again| if again { 4.0 / 3.0 } else { 1.0 }).sum();
        whole.pass += (one.pass - ends.pass).max(0.0) * weight;
        whole.update += (one.update - ends.update).max(0.0) * layers.len() as f64;
    }
    Ok(whole.pass * train.batch().div_ceil(train.micro_batch()) as f64 + whole.update)
}

/// Times a model of so many layers on one micro-batch.
fn timed(config: &Config, train: &TrainConfig, device: Device, layers: usize, moe: Option<MoeConfig>) -> Result<Seconds> {
    let config = Config { num_hidden_layers: layers, moe, ..config.clone() };
    let model = Model::new(&Drawn { kind: train.precision.parameters(), device }, &config, device)?;
    let mut trainer = Trainer::new(model, one_micro_batch(train), stream(&config, train)?, None, "")?;
    let mut times = (0..=REPEATS as u64).map(|step| trainer.time(step + 1)).collect::<Result<Vec<_>>>()?;
    let mut median = |part: fn(&Seconds) -> f64| {
        times[1..].sort_by(|one, other| part(one).total_cmp(&part(other)));
        part(&times[1 + REPEATS / 2])
    };
    Ok(Seconds { pass: median(|time| time.pass), update: median(|time| time.update) })
}

/// The recipe with steps of one micro-batch.
fn one_micro_batch(train: &TrainConfig) -> TrainConfig {
    let steps = train.steps.max(train.schedule.warmup_steps).max(REPEATS as u64 + 1);
    let (batch_size, recompute) = (train.micro_batch(), Recompute::default());
    TrainConfig { steps, batch_size, batch_tokens: 0, micro_batch_size: 0, reset_at_documents: false, recompute, ..train.clone() }
}

/// Tokens from all over the vocabulary.
fn stream(config: &Config, train: &TrainConfig) -> Result<TokenStream> {
    let count = (train.micro_batch() * train.sequence_length + 1) as u64;
    let vocabulary = u32::try_from(config.vocab_size).map_err(|_| TrainError::Tokens("the vocabulary exceeds 2^32".into()))?;
    Ok(TokenStream::new((0..count).map(|at| (at * 2_654_435_761 % u64::from(vocabulary)) as u32).collect::<Vec<u32>>()))
}

impl Trainer {
    fn time(&mut self, step: u64) -> Result<Seconds> {
        let batches = self.batches.step(step, &(0..self.config.batch()))?;
        let begin = Instant::now();
        let found = self.gradients(step, batches)?;
        let _ = found.loss.f_double_value(&[])?; // waits for the device
        let pass = begin.elapsed().as_secs_f64();
        let norms = norms(self.optimizer.parameters(), &found.tensors)?;
        self.update(step, &found.tensors, &norms)?;
        let _ = norms.whole.f_double_value(&[])?;
        self.finite(step, "the loss while timing", found.loss.f_double_value(&[])?)?;
        Ok(Seconds { pass, update: begin.elapsed().as_secs_f64() - pass })
    }
}

/// Weights drawn on the device.
struct Drawn {
    kind: Kind,
    device: Device,
}

impl Source for Drawn {
    fn tensor(&self, _name: &str, shape: &[i64]) -> coppice_models::Result<Tensor> {
        Ok(Tensor::f_empty(shape, (self.kind, self.device))?.f_uniform_(-SPREAD, SPREAD)?)
    }

    fn optional(&self, name: &str, shape: &[i64]) -> coppice_models::Result<Option<Tensor>> {
        self.tensor(name, shape).map(Some)
    }

    fn packed(&self, names: &[String], shape: &[i64]) -> coppice_models::Result<Tensor> {
        let shape: Vec<i64> = std::iter::once(names.len() as i64).chain(shape.iter().copied()).collect();
        self.tensor("", &shape)
    }
}
