//! The prompt as it is, answered at other temperatures: what a model knows survives more noise than what it guesses.

use rand_chacha::ChaCha8Rng;

use super::{Prompt, Variation};
use crate::record::Variant;

/// The ladder's ends.
const LOWEST: f64 = 0.25;
const HIGHEST: f64 = 1.5;

/// Settings rather than wording: `count` temperatures from 0.25 to 1.5 in even steps; one alone is 1.
pub(super) struct Temperature;

impl Variation for Temperature {
    fn name(&self) -> &'static str {
        "temperature"
    }

    fn summary(&self) -> &'static str {
        "the same prompt at temperatures from 0.25 to 1.5"
    }

    fn vary(&self, prompt: &Prompt<'_>, count: usize, _: &mut ChaCha8Rng) -> Vec<Variant> {
        let step = (HIGHEST - LOWEST) / count.saturating_sub(1).max(1) as f64;
        let rung = |place: usize| if count == 1 { 1.0 } else { LOWEST + place as f64 * step };
        let variant = |temperature| Variant {
            prompt: prompt.with(prompt.question),
            kind: Some(self.name().to_owned()),
            temperature: Some(temperature),
            samples: Vec::new(),
        };
        (0..count).map(rung).map(variant).collect()
    }
}
