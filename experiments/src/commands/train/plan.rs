//! `coppice train --dry-run`: what the run would take, as a table or as JSON.

use anyhow::Result;
use coppice_models::Config;
use coppice_models::doctor::matmul;
use coppice_upcycle::train::plan::Plan;
use coppice_upcycle::train::trainer::seconds_per_step;
use coppice_upcycle::train::{TokenStream, TrainConfig};
use serde_json::{Value, json};
use tch::Device;

use crate::output;

/// FLOPs of a step up to which its parts are tried out; larger ones would take too long and too much memory for a plan.
const TRIED: f64 = 1e12;

/// Share of the rate of a large matrix product that a larger step is taken to reach, as at the shapes of StableLM 2 1.6B
/// (`experiments/results/train-step.json`).
const SHARE: f64 = 0.6;

/// Seconds of a step, and how they are known.
struct Time {
    step: f64,
    how: &'static str,
}

impl Time {
    fn of(config: &Config, recipe: &TrainConfig, plan: &Plan, ranks: usize, device: Device) -> Result<Self> {
        let flops = plan.training_flops / plan.steps.max(1) as f64;
        let (step, how) = if flops <= TRIED {
            (seconds_per_step(config, recipe, device)?, "by steps of single layers")
        } else {
            (flops / (SHARE * matmul(recipe.precision.parameters(), device)?), "at 0.6 of the rate of a large product here")
        };
        Ok(Self { step: step / ranks as f64, how })
    }
}

/// Tells the plan of a run of `ranks` processes on the tokens of `train`.
pub fn tell(config: &Config, recipe: &TrainConfig, train: &TokenStream, ranks: usize, device: Device, as_json: bool) -> Result<()> {
    let plan = Plan::new(config, recipe, ranks)?;
    let time = Time::of(config, recipe, &plan, ranks, device)?;
    if as_json {
        return output::json(&whole(&plan, train, &time)?);
    }
    table(&plan, train, &time).into_iter().try_for_each(|(name, value)| output::line(format!("{name:<16}{value}")))
}

fn whole(plan: &Plan, train: &TokenStream, time: &Time) -> Result<Value> {
    let mut all = serde_json::to_value(plan)?;
    all["corpus_tokens"] = json!(train.ids().len());
    all["corpus_documents"] = json!(train.documents());
    all["passes_over_the_corpus"] = json!(passes(plan, train));
    all["seconds_per_step"] = json!(time.step);
    all["time_known"] = json!(time.how);
    all["seconds"] = json!(time.step * plan.steps as f64);
    all["memory"]["total"] = json!(plan.memory.total());
    Ok(all)
}

fn passes(plan: &Plan, train: &TokenStream) -> f64 {
    plan.tokens as f64 / train.ids().len() as f64
}

fn table(plan: &Plan, train: &TokenStream, time: &Time) -> Vec<(&'static str, String)> {
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
        ("time", format!("{}, {:.3} s a step {}", output::duration(time.step * plan.steps as f64), time.step, time.how)),
    ]
}

fn bytes(count: f64) -> String {
    let units = [(30, "GiB"), (20, "MiB")];
    let (power, unit) = units.into_iter().find(|&(power, _)| count >= f64::from(1 << power)).unwrap_or((10, "KiB"));
    format!("{:.1} {unit}", count / f64::from(1 << power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_fitting_units() {
        assert_eq!([bytes(2048.0), bytes(3e6), bytes(119.3e9)], ["2.0 KiB", "2.9 MiB", "111.1 GiB"]);
    }
}
