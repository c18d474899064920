//! `coppice energy`: what training and inference cost in energy, and what a grid emits for it.

mod inference;
mod program;
mod told;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use self::told::Power;
use crate::common::{Compute, Outcome};
use crate::energy::{Conditions, DEFAULT_PUE, Footprint, TrainingHours, intensity, of_run};
use crate::output;

/// Energy and carbon of training or inference: from the power that a meter shows (NVML, RAPL), or from a given one.
/// Name one kind of work: --model measures generating; --run reads how long a training run computed; --hours states it; a command after
/// `--` is run and measured whole.
#[derive(Debug, Args)]
pub struct EnergyArgs {
    /// Measure generating with this checkpoint: folder, or the ID of a pulled one.
    #[arg(long, value_name = "DIR", group = "work")]
    model: Option<String>,
    /// Tokens to generate for each prompt.
    #[arg(long, default_value_t = 256, value_name = "N")]
    tokens: usize,
    /// Tokens of each prompt.
    #[arg(long, default_value_t = 32, value_name = "N")]
    prompt_tokens: usize,
    /// Prompts side by side.
    #[arg(long, default_value_t = 1, value_name = "B")]
    batch: usize,
    /// Read the hours of a training run from its metrics.jsonl, or those of all stages of an experiment.
    #[arg(long, value_name = "DIR", group = "work")]
    run: Option<PathBuf>,
    /// Hours of work, summed over devices unless --devices says how many there were.
    #[arg(long, value_name = "H", group = "work")]
    hours: Option<f64>,
    /// Devices that worked for those hours.
    #[arg(long, default_value_t = 1, value_name = "N")]
    devices: u32,
    /// Mean power of one device in watts, where it is not to be measured.
    #[arg(long, value_name = "W")]
    watts: Option<f64>,
    /// Power usage effectiveness: what the building draws for each watt of its devices.
    #[arg(long, default_value_t = DEFAULT_PUE)]
    pue: f64,
    /// What the grid emits, kg of CO2 equivalents a kWh.
    #[arg(long, value_name = "KG", conflicts_with = "region")]
    intensity: Option<f64>,
    /// A region whose grid's mean of 2023 is taken: world, france, united-states, ... (an unknown one lists them).
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Seed of the prompts' tokens and of sampling.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    compute: Compute,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// A command to run and measure; its output goes to stderr.
    #[arg(last = true, value_name = "COMMAND", group = "work")]
    command: Vec<String>,
}

impl EnergyArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        let conditions = self.conditions()?;
        if let Some(folder) = &self.run {
            return self.training(&of_run(folder)?, &conditions);
        }
        if let Some(hours) = self.hours {
            let footprint = Footprint::new(hours * f64::from(self.devices), self.given()?, &conditions)?;
            return self.tell(&footprint, &Power::given(footprint.watts), &conditions, json!({ "hours": hours }), Vec::new());
        }
        match &self.model {
            Some(model) => self.inference(model, &conditions),
            None if !self.command.is_empty() => self.program(&conditions),
            None => bail!("name the work: --model DIR, --run DIR, --hours H, or a command after --"),
        }
    }

    fn conditions(&self) -> Result<Conditions> {
        let region = self.region.as_deref().map(intensity).transpose()?;
        let conditions = Conditions { pue: self.pue, kg_per_kwh: self.intensity.or(region) };
        conditions.check()?;
        Ok(conditions)
    }

    /// The power of a device, where nothing can be measured any more.
    fn given(&self) -> Result<f64> {
        self.watts.context("work that is over cannot be measured: give the mean power of a device with --watts W")
    }

    fn training(&self, logs: &[TrainingHours], conditions: &Conditions) -> Result<Outcome> {
        let (hours, tokens) = (logs.iter().map(|log| log.hours).sum::<f64>(), logs.iter().map(|log| log.tokens).sum::<u64>());
        let footprint = Footprint::new(hours * f64::from(self.devices), self.given()?, conditions)?;
        let each = |log: &TrainingHours| format!("{}: {} steps, {} tokens, {:.4} h", log.log.display(), log.steps, log.tokens, log.hours);
        let lines = logs.iter().map(each).chain([per_thousand("trained on", &footprint, tokens as f64)]).collect();
        let work =
            json!({ "logs": logs, "hours": hours, "tokens": tokens, "per_1000_tokens": footprint.scaled(1e3 / tokens.max(1) as f64) });
        self.tell(&footprint, &Power::given(footprint.watts), conditions, work, lines)
    }

    /// Prints what was found; `lines` come before the sum.
    fn tell(
        &self,
        footprint: &Footprint,
        power: &Power,
        conditions: &Conditions,
        work: serde_json::Value,
        lines: Vec<String>,
    ) -> Result<Outcome> {
        if self.json {
            output::json(&json!({ "work": work, "power": power, "conditions": conditions, "total": footprint }))?;
            return Ok(Outcome::Done);
        }
        lines.into_iter().try_for_each(output::line)?;
        output::line(power.sentence())?;
        output::line(told::sum(footprint, conditions))?;
        Ok(Outcome::Done)
    }
}

/// What a thousand of `tokens` tokens cost.
fn per_thousand(what: &str, footprint: &Footprint, tokens: f64) -> String {
    format!("per 1,000 tokens {what}: {}", footprint.scaled(1e3 / tokens.max(1.0)).sentence())
}
