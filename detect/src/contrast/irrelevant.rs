//! A sentence that has nothing to do with the question, before it or after it.

use rand_chacha::ChaCha8Rng;

use super::{Prompt, Variation, draw, framed};
use crate::record::Variant;

const FRAMES: [&str; 10] = [
    "The library closes at six on Fridays. {}",
    "A kettle is standing on the kitchen table. {}",
    "My neighbour repainted his fence last week. {}",
    "It has been raining since the morning. {}",
    "The train was a few minutes late today. {}",
    "{} By the way, the library closes at six on Fridays.",
    "{} By the way, it has been raining since the morning.",
    "{} By the way, my neighbour repainted his fence last week.",
    "{} By the way, the train was a few minutes late today.",
    "{} By the way, a kettle is standing on the kitchen table.",
];

/// An added sentence without bearing on the answer (Shi et al. 2023, arXiv 2302.00093).
pub(super) struct Irrelevant;

impl Variation for Irrelevant {
    fn name(&self) -> &'static str {
        "irrelevant"
    }

    fn summary(&self) -> &'static str {
        "an added sentence that has nothing to do with the question"
    }

    fn vary(&self, prompt: &Prompt<'_>, count: usize, rng: &mut ChaCha8Rng) -> Vec<Variant> {
        draw(self.name(), prompt, framed(&FRAMES, prompt.question), count, rng)
    }
}
