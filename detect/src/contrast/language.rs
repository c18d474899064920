//! The question as it is, asked in a frame of another language: German, French, Spanish, Italian, Portuguese. The frame asks for an answer in the
//! question's language, so that answers can be compared.

use rand_chacha::ChaCha8Rng;

use super::{Prompt, Variation, draw, framed};
use crate::record::Variant;

const FRAMES: [&str; 10] = [
    "Beantworte die folgende Frage in der Sprache, in der sie gestellt ist: {}",
    "Bitte antworte in der Sprache der Frage. Die Frage lautet: {}",
    "Réponds à la question suivante dans la langue où elle est posée : {}",
    "Réponds, s'il te plaît, dans la langue de la question. Voici la question : {}",
    "Responde a la siguiente pregunta en el idioma en que está formulada: {}",
    "Por favor, responde en el idioma de la pregunta. La pregunta es: {}",
    "Rispondi alla seguente domanda nella lingua in cui è posta: {}",
    "Per favore, rispondi nella lingua della domanda. La domanda è: {}",
    "Responda à seguinte pergunta na língua em que está formulada: {}",
    "Por favor, responda na língua da pergunta. A pergunta é: {}",
];

/// Frames in other languages.
pub(super) struct Language;

impl Variation for Language {
    fn name(&self) -> &'static str {
        "language"
    }

    fn summary(&self) -> &'static str {
        "the question in a frame in German, French, Spanish, Italian or Portuguese"
    }

    fn vary(&self, prompt: &Prompt<'_>, count: usize, rng: &mut ChaCha8Rng) -> Vec<Variant> {
        draw(self.name(), prompt, framed(&FRAMES, prompt.question), count, rng)
    }
}
