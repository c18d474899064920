//! `coppice train --dry-run`: what the run would take, as a table or as JSON.

use anyhow::Result;
use coppice_models::Config;
use coppice_models::doctor::matmul;
use coppice_upcycle::train::plan::Plan;
use coppice_upcycle::train::{TokenStream, TrainConfig};
use serde_json::{Value, json};
use tch::Device;

use crate::output;

/// Tells the plan of a run of `ranks` processes on the tokens of `train`.
pub fn tell(config: &Config, recipe: &TrainConfig, train: &TokenStream, ranks: usize, device: Device, as_json: bool) -> Result<()> {
    let rate = matmul(recipe.precision.parameters(), device)?;
    let plan = Plan::new(config, recipe, ranks, Some(rate))?;
    if as_json {
        return output::json(&whole(&plan, train, rate)?);
    }
    table(&plan, train, rate).into_iter().try_for_each(|(name, value)| output::line(format!("{name:<16}{value}")))
}

fn whole(plan: &Plan, train: &TokenStream, rate: f64) -> Result<Value> {
    let mut all = serde_json::to_value(plan)?;
    all["corpus_tokens"] = json!(train.ids().len());
    all["corpus_documents"] = json!(train.documents());
    all["passes_over_the_corpus"] = json!(passes(plan, train));
    all["matmul_flop_per_s"] = json!(rate);
    all["memory"]["total"] = json!(plan.memory.total());
    Ok(all)
}

fn passes(plan: &Plan, train: &TokenStream) -> f64 {
    plan.tokens as f64 / train.ids().len() as f64
}

fn table(plan: &Plan, train: &TokenStream, rate: f64) -> Vec<(&'static str, String)> {
    let memory = &plan.memory;
    vec![
        ("parameters", format!("{}, {} of them active", plan.parameters, plan.active_parameters)),
        ("tokens", format!("{} in {} steps of {}", plan.tokens, plan.steps, plan.tokens_per_step)),
        ("corpus", format!("{} documents, {} tokens, read {:.2} times", train.documents(), train.ids().len(), passes(plan, train))),
        ("weights", bytes(memory.weights)),
        ("gradients", bytes(memory.gradients)),
        ("optimizer", bytes(memory.optimizer)),
        ("activations", format!("{} (estimate)", bytes(memory.activations))),
        ("memory", format!("{} a process", bytes(memory.total()))),
        ("operations", format!("{:.3e} FLOPs", plan.training_flops)),
        ("time", format!("{} at half of {:.0} GFLOP/s (estimate)", plan.seconds.map_or_else(String::new, duration), rate / 1e9)),
    ]
}

fn bytes(count: f64) -> String {
    let units = [(30, "GiB"), (20, "MiB")];
    let (power, unit) = units.into_iter().find(|&(power, _)| count >= f64::from(1 << power)).unwrap_or((10, "KiB"));
    format!("{:.1} {unit}", count / f64::from(1 << power))
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_told_in_fitting_units() {
        assert_eq!([bytes(2048.0), bytes(3e6), bytes(119.3e9)], ["2.0 KiB", "2.9 MiB", "111.1 GiB"]);
        assert_eq!([duration(59.6), duration(600.0), duration(9000.0), duration(864_000.0)], ["60 s", "10 min", "2.5 h", "10.0 days"]);
    }
}
