//! How many tokens a second training takes on this machine, at the size of the demo: dense, and eight experts at top-1 and top-2.
//!
//! `cargo run --release -p coppice-upcycle --example train_speed [steps] [sequences per step] [arm]`

use std::sync::atomic::AtomicBool;

use coppice_models::config::{Config, Gate, MoeConfig};
use coppice_models::init::{Random, unit};
use coppice_models::{Model, init};
use coppice_upcycle::train::{Resume, TokenStream, TrainConfig, Trainer};
use serde_json::json;
use tch::Device;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let number = |at: usize, default: u64| std::env::args().nth(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (steps, batch, arm) = (number(1, 40), number(2, 8), std::env::args().nth(3).unwrap_or_default());
    let top = |k: i64, gate| MoeConfig {
        num_experts: 8,
        experts_per_token: k,
        gate,
        layers: (0..4).collect(),
        expert_intermediate_size: 352,
        ..MoeConfig::default()
    };
    let arms =
        [("dense", None), ("8 experts, top-1", Some(top(1, Gate::SoftmaxTopkSt))), ("8 experts, top-2", Some(top(2, Gate::TopkSoftmax)))];
    for (name, moe) in arms.into_iter().filter(|(name, _)| name.contains(&arm)) {
        eprintln!("{name}: {:.0} tokens/s", tokens_per_second(moe, steps, batch)?);
    }
    Ok(())
}

fn demo_config(moe: Option<MoeConfig>) -> Result<Config, coppice_models::Error> {
    let config = Config::from_json(&json!({
        "model_type": "stablelm", "vocab_size": 1500, "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4,
        "num_attention_heads": 4, "max_position_embeddings": 512, "use_qkv_bias": true, "tie_word_embeddings": true,
    }))?;
    Ok(Config { moe, ..config })
}

/// Median over the steps after the first five.
fn tokens_per_second(moe: Option<MoeConfig>, steps: u64, batch: u64) -> Result<f64, Box<dyn std::error::Error>> {
    let config = demo_config(moe)?;
    let model = Model::new(&Random { config: &config, seed: 1, std: 0.02, device: Device::Cpu }, &config, Device::Cpu)?;
    let mut rng = init::stream(1, "tokens");
    let ids: Vec<u32> = (0..200_000).map(|_| (unit(&mut rng) * 1500.0) as u32 % 1500).collect();
    let recipe: TrainConfig = serde_json::from_value(json!({
        "steps": steps, "sequence_length": 256, "batch_size": batch, "schedule": {"peak": 1e-3, "warmup_steps": 5},
    }))?;
    let folder = tempfile::tempdir()?;
    Trainer::new(model, recipe, TokenStream::new(ids), None, folder.path())?.run(Resume::Never, &mut |_| {}, &AtomicBool::new(false))?;
    let lines = coppice_upcycle::train::metrics::read(&folder.path().join("metrics.jsonl"))?;
    let mut rates: Vec<f64> =
        lines.iter().filter_map(|line| serde_json::to_value(line).ok()?["tokens_per_second"].as_f64()).skip(5).collect();
    rates.sort_by(f64::total_cmp);
    Ok(rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN))
}
