//! `coppice energy`: what a training run or an answer takes in energy and carbon.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use coppice_models::generate::{Options, generate};
use coppice_upcycle::train::metrics::{Line, read as read_metrics};
use serde_json::json;

use crate::common::{Compute, ModelArgs, Outcome};
use crate::energy::{Account, PUE, Power, Reading, energy, open, region};
use crate::output;

/// Energy and carbon of a number of device-hours, of a training run, or of generated tokens; measured where this machine has a meter.
#[derive(Debug, Args)]
pub struct EnergyArgs {
    /// Hours of all devices together.
    #[arg(long, value_name = "H", conflicts_with_all = ["run", "model"])]
    device_hours: Option<f64>,
    /// Folder of a training run (metrics.jsonl): its time, on --devices.
    #[arg(long, value_name = "DIR", conflicts_with = "model")]
    run: Option<PathBuf>,
    /// Generate with this model (a folder, or the ID of a pulled one), and count the energy.
    #[arg(long, value_name = "DIR")]
    model: Option<String>,
    #[command(flatten)]
    compute: Compute,
    /// Tokens to generate with --model.
    #[arg(long, default_value_t = 128, value_name = "N")]
    tokens: usize,
    /// Prompts side by side with --model.
    #[arg(long, default_value_t = 1, value_name = "B")]
    batch: usize,
    /// Devices that a --run used.
    #[arg(long, default_value_t = 1, value_name = "N")]
    devices: usize,
    /// Mean power of one device, watts; without it, what this machine's meter says.
    #[arg(long, value_name = "W")]
    watts: Option<f64>,
    /// Power usage effectiveness of the data centre.
    #[arg(long, default_value_t = PUE, value_name = "P")]
    pue: f64,
    /// Emissions of the grid, kg CO2eq a kWh.
    #[arg(long, value_name = "KG", conflicts_with = "region")]
    intensity: Option<f64>,
    /// The same by country code (ISO 3166), or world: averages of 2023.
    #[arg(long, value_name = "CODE")]
    region: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A generation and its time.
struct Generated {
    tokens: usize,
    seconds: f64,
    reading: Option<Reading>,
}

impl EnergyArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        let intensity = self.region.as_deref().map(region).transpose()?.map(|region| region.intensity).or(self.intensity);
        if let Some(model) = &self.model {
            return self.of_tokens(model, intensity);
        }
        let hours = match (&self.run, self.device_hours) {
            (Some(run), _) => seconds_of(run)? / 3600.0 * self.devices as f64,
            (None, Some(hours)) => hours,
            (None, None) => bail!("what for? --device-hours H, --run DIR or --model DIR"),
        };
        let watts = self.watts.context("a run that is over can only be counted with its power: --watts W")?;
        self.tell(&Account::new(hours, watts, Power::Given, self.pue, intensity)?, None)
    }

    fn of_tokens(&self, model: &str, intensity: Option<f64>) -> Result<Outcome> {
        let generated = self.generate(model)?;
        let account = match (self.watts, &generated.reading) {
            (Some(watts), _) => Account::new(generated.seconds / 3600.0, watts, Power::Given, self.pue, intensity)?,
            (None, Some(Reading { meter, devices, seconds, joules })) => {
                let (hours, watts) = (seconds / 3600.0 * *devices as f64, joules / seconds / *devices as f64);
                Account::new(hours, watts, Power::Measured(meter.clone()), self.pue, intensity)?
            }
            (None, None) => bail!("this machine has no meter that can be read (NVML, RAPL): give --watts W"),
        };
        self.tell(&account, Some(&generated))
    }

    fn generate(&self, model: &str) -> Result<Generated> {
        let (_, model) = ModelArgs { model: model.to_owned(), compute: self.compute.clone() }.load()?;
        let prompt = |row: usize| (0..32).map(|place| (1 + 7919 * (place + 32 * row as i64)) % model.config.vocab_size).collect();
        let prompts: Vec<Vec<i64>> = (0..self.batch.max(1)).map(prompt).collect();
        let options = |tokens| Options { max_new_tokens: tokens, ..Options::default() };
        generate(&model, &prompts, &options(2))?; // warms up
        let (meter, start) = (open(), std::time::Instant::now());
        let tokens = generate(&model, &prompts, &options(self.tokens))?.iter().flatten().map(|trace| trace.tokens.len()).sum();
        Ok(Generated { tokens, seconds: start.elapsed().as_secs_f64(), reading: meter.map(|meter| meter.read()).transpose()? })
    }

    fn tell(&self, account: &Account, generated: Option<&Generated>) -> Result<Outcome> {
        let per_thousand = generated.map(|generated| account.watt_hours * 1000.0 / generated.tokens.max(1) as f64);
        if self.json {
            let speed = generated.map(|generated| generated.tokens as f64 / generated.seconds);
            output::json(&json!({ "account": account, "tokens_per_second": speed, "watt_hours_per_1000_tokens": per_thousand }))?;
            return Ok(Outcome::Done);
        }
        account.sentences().into_iter().try_for_each(output::line)?;
        if let (Some(generated), Some(per_thousand)) = (generated, per_thousand) {
            let Generated { tokens, seconds, .. } = generated;
            output::line(format!("{} per 1,000 tokens ({tokens} tokens in {seconds:.2} s, prefill included)", energy(per_thousand)))?;
        }
        Ok(Outcome::Done)
    }
}

/// Seconds that the steps of a run took, validation and checkpoints left out.
fn seconds_of(run: &Path) -> Result<f64> {
    let path = run.join("metrics.jsonl");
    let lines = read_metrics(&path).with_context(|| format!("{} is no training run", run.display()))?;
    let (mut before, mut seconds) = (0, 0.0);
    for line in &lines {
        if let Line::Step(step) = line {
            seconds += step.tokens.saturating_sub(before) as f64 / step.tokens_per_second.max(f64::MIN_POSITIVE);
            before = step.tokens;
        }
    }
    if seconds > 0.0 { Ok(seconds) } else { bail!("{} has no step with its time", path.display()) }
}
