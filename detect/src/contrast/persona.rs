//! The question put to somebody.

use rand_chacha::ChaCha8Rng;

use super::{Prompt, Variation, draw, framed};
use crate::record::Variant;

const FRAMES: [&str; 8] = [
    "You are a careful historian. {}",
    "You are a schoolteacher speaking to your class. {}",
    "You are a reference librarian. {}",
    "You are a journalist who checks every fact. {}",
    "You are a scientist at a university. {}",
    "You are an experienced quiz master. {}",
    "You are a friendly assistant. {}",
    "You are the editor of an encyclopaedia. {}",
];

/// Roles for the one who answers.
pub(super) struct Persona;

impl Variation for Persona {
    fn name(&self) -> &'static str {
        "persona"
    }

    fn summary(&self) -> &'static str {
        "the question put to somebody: a historian, a teacher, a librarian"
    }

    fn vary(&self, prompt: &Prompt<'_>, count: usize, rng: &mut ChaCha8Rng) -> Vec<Variant> {
        draw(self.name(), prompt, framed(&FRAMES, prompt.question), count, rng)
    }
}
