//! What inference costs: counted FLOPs and bytes per token, and measured latency, for every arm.

use std::time::Instant;

use anyhow::{Context, Result};
use coppice_models::flops::{Account, Setting};
use coppice_models::generate::{Options, generate};
use coppice_models::{Checkpoint, Model};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::{Device, Kind};

use super::Trained;
use super::recipe::Recipe;
use super::stages::Stages;
use crate::common::check_interrupt;

/// Tokens decoded to time one.
const DECODED: usize = 48;
/// Sequences decoded side by side in each timing.
const BATCHES: [usize; 2] = [1, 8];
/// Timings of which the median counts; the arms take turns, so that a drift of the machine's speed meets all alike.
const REPEATS: usize = 5;

/// The cost of one arm (or of the pre-trained model).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cost {
    /// Index into the recipe's arms; none for the pre-trained model.
    pub arm: Option<usize>,
    /// All parameters.
    pub parameters: u64,
    /// Parameters a token meets.
    pub active_parameters: u64,
    /// FLOPs of decoding one token.
    pub flops_per_token: f64,
    /// Bytes read for it.
    pub bytes_per_token: f64,
    /// Milliseconds it took, batch 1, median.
    pub latency_ms: f64,
    /// Milliseconds a token took, of eight sequences side by side, median.
    pub latency_batch8_ms: f64,
    /// How all this was counted.
    pub conventions: Vec<String>,
}

/// Counts and times one model of each arm.
pub fn measure(stages: &mut Stages, recipe: &Recipe, device: Device, trained: &[Trained]) -> Result<Vec<Cost>> {
    let mut first: Vec<&Trained> = Vec::new();
    for model in trained {
        if !first.iter().any(|known| known.grown.arm == model.grown.arm) {
            first.push(model);
        }
    }
    let keys: Vec<_> = first.iter().map(|model| &model.grown.train.key).collect();
    let inputs = json!({ "models": keys, "context": recipe.detect.context, "batches": BATCHES });
    let finished = stages.run("cost", &inputs, |folder| {
        let costs = time_all(&first, recipe.detect.context, device)?;
        Ok(std::fs::write(folder.join("costs.json"), serde_json::to_string_pretty(&costs)?)?)
    })?;
    let text = std::fs::read_to_string(finished.folder.join("costs.json")).context("stage cost")?;
    Ok(serde_json::from_str(&text)?)
}

fn time_all(models: &[&Trained], context: i64, device: Device) -> Result<Vec<Cost>> {
    let load = |trained: &&Trained| Ok(Model::load(&Checkpoint::open(trained.grown.train.folder.join("model"))?, Kind::Float, device)?);
    let loaded = models.iter().map(load).collect::<Result<Vec<_>>>()?;
    let mut times = vec![<[Vec<f64>; BATCHES.len()]>::default(); loaded.len()];
    for repeat in 0..=REPEATS {
        for (model, times) in loaded.iter().zip(&mut times) {
            for (times, batch) in times.iter_mut().zip(BATCHES) {
                check_interrupt()?;
                let milliseconds = decode_ms(model, context, batch)?;
                // The first round warms caches and thread pools.
                times.extend((repeat > 0).then_some(milliseconds));
            }
        }
    }
    models.iter().zip(&loaded).zip(&mut times).map(|((trained, model), times)| cost(trained, model, context, times)).collect()
}

fn cost(trained: &Trained, model: &Model, context: i64, times: &mut [Vec<f64>; BATCHES.len()]) -> Result<Cost> {
    let [latency_ms, latency_batch8_ms] = times.each_mut().map(|times| median(times));
    let setting = Setting { context: context as u64, weight_bytes: 4.0, cache_bytes: 4.0, ..Setting::default() };
    let account = Account::new(&model.config, setting)?;
    Ok(Cost {
        arm: trained.grown.arm,
        parameters: account.parameters,
        active_parameters: account.active_parameters,
        flops_per_token: account.decode_flops,
        bytes_per_token: account.decode_bytes,
        latency_ms,
        latency_batch8_ms,
        conventions: account.conventions(),
    })
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Milliseconds a decoded token of `batch` sequences takes around the given context: a run of one token is taken off, so the prefill is
/// not counted.
fn decode_ms(model: &Model, context: i64, batch: usize) -> Result<f64> {
    let prompt = vec![vec![1; (context as usize).saturating_sub(DECODED / 2).max(1)]; batch];
    let seconds = |tokens: usize| -> Result<f64> {
        let start = Instant::now();
        generate(model, &prompt, &Options { max_new_tokens: tokens, ..Options::default() })?;
        Ok(start.elapsed().as_secs_f64())
    };
    Ok((seconds(DECODED + 1)? - seconds(1)?) * 1e3 / (DECODED * batch) as f64)
}
