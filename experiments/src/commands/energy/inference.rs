//! Generating, timed, and measured where there is a meter.

use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Result, anyhow};
use coppice_models::generate::{Options, generate};
use coppice_models::sampling::Sampling;
use coppice_models::{Checkpoint, Model};
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::told::Power;
use super::{EnergyArgs, per_thousand};
use crate::common::{Interrupted, ModelArgs, Outcome, interrupted};
use crate::energy::{Conditions, Footprint, Meter, meter_while, of_device};

impl EnergyArgs {
    pub(super) fn inference(&self, name: &str, conditions: &Conditions) -> Result<Outcome> {
        let device = self.compute.device()?;
        let meters = self.meters(device)?;
        let arguments = ModelArgs { model: name.to_owned(), compute: self.compute.clone() };
        let (checkpoint, model) = arguments.load()?;
        let prompts = self.prompts(&checkpoint);
        // The first tokens warm caches, and refuse what cannot be generated.
        generated(&model, &prompts, self.seed, self.tokens.min(4))?;
        let begin = Instant::now();
        let (tokens, power, seconds, watts) = match meters {
            Some(meters) => {
                let (tokens, metered) = meter_while(meters, || generated(&model, &prompts, self.seed, self.tokens))?;
                (tokens, Power::measured(&metered), metered.seconds, metered.watts())
            }
            None => {
                let tokens = generated(&model, &prompts, self.seed, self.tokens)?;
                let watts = self.given()?;
                (tokens, Power::given(watts), begin.elapsed().as_secs_f64(), watts)
            }
        };
        let footprint = Footprint::new(seconds / 3600.0, watts, conditions)?;
        let rate = tokens as f64 / seconds;
        let lines = vec![
            format!("{tokens} tokens after {} prompts of {} in {seconds:.2} s: {rate:.1} tokens/s", self.batch, self.prompt_tokens),
            per_thousand("generated", &footprint, tokens as f64),
        ];
        let work = json!({ "tokens": tokens, "seconds": seconds, "tokens_per_second": rate, "batch": self.batch,
            "prompt_tokens": self.prompt_tokens, "per_1000_tokens": footprint.scaled(1e3 / tokens.max(1) as f64) });
        self.tell(&footprint, &power, conditions, work, lines)
    }

    /// The device's meters; none where a power was given.
    fn meters(&self, device: tch::Device) -> Result<Option<Vec<Box<dyn Meter>>>> {
        if self.watts.is_some() {
            return Ok(None);
        }
        let found =
            of_device(device).map_err(|reason| anyhow!("no meter shows this device's power ({reason}); give its mean with --watts W"));
        found.map(Some)
    }

    /// Prompts of tokens from all over the vocabulary.
    fn prompts(&self, checkpoint: &Checkpoint) -> Vec<Vec<i64>> {
        let mut rng = rand::rngs::StdRng::seed_from_u64(self.seed);
        let vocabulary = checkpoint.config.vocab_size;
        let mut prompt = || (0..self.prompt_tokens).map(|_| rng.random_range(0..vocabulary)).collect();
        (0..self.batch).map(|_| prompt()).collect()
    }
}

/// Generates `length` tokens for each prompt, whatever ends a text; returns how many there are in all.
fn generated(model: &Model, prompts: &[Vec<i64>], seed: u64, length: usize) -> Result<usize> {
    let stop = |_: &[i64]| interrupted().load(Ordering::SeqCst);
    let sampling = Sampling { temperature: 1.0, ..Sampling::default() };
    let options = Options { max_new_tokens: length, sampling, seed, stop_when: Some(&stop), ..Options::default() };
    let traces = generate(model, prompts, &options)?;
    if stop(&[]) {
        return Err(Interrupted::NothingWritten.into());
    }
    Ok(traces.iter().flatten().map(|trace| trace.tokens.len()).sum())
}
