//! Tiny models and short runs, for the tests of training.
#![allow(dead_code, reason = "every test uses its own part")]

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};

use coppice_models::Model;
use coppice_models::config::{Config, Gate, MoeConfig};
use coppice_models::init::{Random, stream, unit};
use coppice_upcycle::train::metrics::{Line, StepMetrics, read};
use coppice_upcycle::train::{Outcome, Resume, TokenStream, TrainConfig, TrainError, Trainer};
use serde_json::{Value, json};
use tch::{Device, Tensor};

pub(crate) const STEPS: u64 = 12;

pub(crate) fn config(vocabulary: i64, moe: Option<(i64, Gate)>) -> Config {
    let config = Config::from_json(&json!({
        "model_type": "stablelm", "vocab_size": vocabulary, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 64, "use_qkv_bias": true, "tie_word_embeddings": moe.is_none(),
    }));
    let experts = |(k, gate)| MoeConfig {
        num_experts: 4,
        experts_per_token: k,
        gate,
        layers: vec![1],
        expert_intermediate_size: 48,
        ..MoeConfig::default()
    };
    Config { moe: moe.map(experts), ..config.unwrap() }
}

pub(crate) fn model(config: &Config) -> Model {
    Model::new(&Random { config, seed: 7, std: 0.05, device: Device::Cpu }, config, Device::Cpu).unwrap()
}

pub(crate) fn tokens(seed: u64, count: usize) -> TokenStream {
    let mut rng = stream(seed, "tokens");
    TokenStream::new((0..count).map(|_| (unit(&mut rng) * 60.0) as u32).collect::<Vec<_>>())
}

pub(crate) fn recipe(changes: &Value) -> TrainConfig {
    let mut recipe = json!({
        "steps": STEPS, "sequence_length": 16, "batch_size": 4, "micro_batch_size": 3, "seed": 3,
        "schedule": {"peak": 1e-2, "warmup_steps": 3}, "validation": {"every_steps": 5}, "log": {"expert_load_every": 4},
        "checkpoints": {"every_steps": 2, "keep_last": 3},
    });
    recipe.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    serde_json::from_value(recipe).unwrap()
}

pub(crate) fn top_1() -> Config {
    config(64, Some((1, Gate::SoftmaxTopkSt)))
}

/// Top-2 of four experts in both layers, balanced by bias.
pub(crate) fn biased() -> Config {
    let config = config(64, Some((2, Gate::SigmoidTopkRenorm)));
    let moe = config.moe.clone().map(|moe| MoeConfig { router_bias: true, layers: vec![0, 1], ..moe });
    Config { moe, ..config }
}

/// All that training can do to routers, at once.
pub(crate) fn everything() -> Value {
    json!({
        "routing": {"jitter": 0.1, "capacity": {"factor": 0.9, "drop": "probs"}, "bias_update_rate": 0.01},
        "losses": {"balance_coefficient": 0.05, "balance_level": "global_batch", "adaptive": {"beta": 0.7}},
    })
}

/// Held by tests with noise: libtorch has one generator for all threads, and runs of training one thread that uses it.
pub(crate) fn noise() -> MutexGuard<'static, ()> {
    static NOISE: Mutex<()> = Mutex::new(());
    NOISE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn trainer(config: &Config, recipe: TrainConfig, folder: &Path) -> Trainer {
    Trainer::new(model(config), recipe, tokens(1, 700), Some(tokens(2, 100)), folder).unwrap()
}

pub(crate) fn run(trainer: &mut Trainer, resume: Resume) -> Result<Outcome, TrainError> {
    trainer.run(resume, &mut |_| {}, &AtomicBool::new(false))
}

/// Weights, balancing biases, moments and number of updates, bit for bit.
pub(crate) fn bits(trainer: &Trainer) -> (Vec<Vec<u32>>, u64) {
    let parameters = trainer.model().parameters();
    let all = parameters.iter().chain(trainer.optimizer().state());
    let flat = |tensor: &Tensor| Vec::<f32>::try_from(tensor.detach().flatten(0, -1)).unwrap();
    (all.map(|p| flat(&p.tensor).into_iter().map(f32::to_bits).collect()).collect(), trainer.optimizer().updates())
}

/// The metrics without what depends on the clock.
pub(crate) fn metrics(folder: &Path) -> Vec<Line> {
    let timeless = |line| match line {
        Line::Step(step) => Line::Step(Box::new(StepMetrics {
            tokens_per_second: 0.0,
            flops_per_second: None,
            mfu: None,
            peak_memory_bytes: None,
            ..*step
        })),
        other => other,
    };
    read(&folder.join("metrics.jsonl")).unwrap().into_iter().map(timeless).collect()
}

pub(crate) fn step_lines(folder: &Path) -> Vec<StepMetrics> {
    metrics(folder).into_iter().filter_map(|line| if let Line::Step(step) = line { Some(*step) } else { None }).collect()
}
