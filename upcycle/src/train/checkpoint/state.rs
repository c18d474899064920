//! What a run is besides its tensors, and how two runs differ.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::train::error::{Result, TrainError};
use crate::train::recipe::TrainConfig;

/// What a run is besides its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Steps done, which is also the number of optimizer updates since the start.
    pub step: u64,
    /// Updates that the optimizer had made in another run before this one started from its state.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub updates_before: u64,
    /// Tokens predicted in training so far.
    pub tokens: u64,
    /// Where reading goes on.
    pub data: DataPosition,
    /// Coefficients of the balance losses, one a routed layer, where they are adaptive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub balance_coefficients: Vec<f64>,
    /// The settings that decide the weights.
    pub recipe: TrainConfig,
    /// Hash of them.
    pub recipe_hash: String,
}

/// Where in the data a run stands. The order of reading is drawn by a counter-based generator from seed and epoch, the routers' noise by
/// one seeded anew in every micro-batch, so that the position and the step are the whole state of the random numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPosition {
    /// Sequences read.
    pub sequences: u64,
    /// Passes over the tokens begun, minus one.
    pub epoch: u64,
    /// Generator of the order.
    pub generator: String,
    /// Its seed.
    pub seed: u64,
    /// Hash of the training tokens.
    pub tokens_hash: String,
}

impl State {
    /// The state after `step` steps of a recipe over tokens that make `blocks` sequences.
    ///
    /// # Errors
    /// When the recipe cannot be written as JSON.
    pub fn new(step: u64, config: &TrainConfig, blocks: usize, tokens_hash: &str) -> Result<Self> {
        let recipe = config.decisive();
        let text = serde_json::to_string(&recipe).map_err(|error| TrainError::Recipe(error.to_string()))?;
        let sequences = step * config.batch() as u64;
        let (generator, seed) = ("chacha8".to_owned(), config.seed);
        let data = DataPosition { sequences, epoch: sequences / blocks as u64, generator, seed, tokens_hash: tokens_hash.to_owned() };
        let recipe_hash = blake3::hash(text.as_bytes()).to_hex().to_string();
        let tokens = step * config.tokens_per_step();
        Ok(Self { step, updates_before: 0, tokens, data, balance_coefficients: Vec::new(), recipe, recipe_hash })
    }

    /// In what the run of a state `found` in a checkpoint differs from this one at the same step: one phrase each.
    pub(in crate::train) fn differences(&self, found: &Self) -> Vec<String> {
        let recipes = [&self.recipe, &found.recipe].map(|recipe| serde_json::to_value(recipe).unwrap_or_default());
        let mut all = Vec::new();
        compare("", &recipes[0], &recipes[1], &mut all);
        let tokens = "the training tokens are others".to_owned();
        all.extend((self.data.tokens_hash != found.data.tokens_hash).then_some(tokens));
        all
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Notes every key in which two recipes differ, tables key by key.
fn compare(key: &str, here: &Value, there: &Value, all: &mut Vec<String>) {
    if let (Value::Object(here), Value::Object(there)) = (here, there) {
        let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        let dotted = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
        let value = |table: &Map<String, Value>, name: &str| table.get(name).cloned().unwrap_or_default();
        names.into_iter().for_each(|name| compare(&dotted(name), &value(here, name), &value(there, name), all));
    } else if here != there {
        let told = |value: &Value| if value.is_null() { "unset".to_owned() } else { value.to_string() };
        all.push(format!("{key} is {} here, {} there", told(here), told(there)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(rest: &str) -> State {
        let text = format!("steps = 9\nsequence_length = 2\nbatch_size = 1\n{rest}");
        State::new(3, &toml::from_str(&text).unwrap(), 100, "hash").unwrap()
    }

    #[test]
    fn every_difference_is_named_with_both_values() {
        let one = state("schedule = { peak = 1e-3 }");
        assert!(one.differences(&one.clone()).is_empty());
        let other = state("seed = 4\nschedule = { peak = 2e-3 }\nrouting = { capacity = { factor = 1.5, drop = \"probs\" } }");
        let told = ["routing.capacity is unset here", "schedule.peak is 0.001 here, 0.002 there", "seed is 0 here, 4 there"];
        let found = one.differences(&other);
        assert!(found.len() == 3 && found.iter().zip(told).all(|(found, told)| found.starts_with(told)), "{found:?}");
        let tokens = State { data: DataPosition { tokens_hash: "other".into(), ..one.data.clone() }, ..one.clone() };
        assert_eq!(one.differences(&tokens), ["the training tokens are others"]);
    }
}
