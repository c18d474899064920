//! The same question in other words: frames around it, and other question words.

use rand_chacha::ChaCha8Rng;

use super::{Prompt, Variation, draw, framed};
use crate::record::Variant;

const FRAMES: [&str; 8] = [
    "Please answer this question: {}",
    "Here is a question: {}",
    "I have been asked the following. {} What is the right answer?",
    "Can you help me with this? {}",
    "I would like to know this: {}",
    "In a quiz the question came up: {}",
    "{} Give the answer in a few words.",
    "{} Please be brief.",
];

/// Beginnings of questions and what they may become; the rest of the question stays as it is. The first that fits counts.
const BEGINNINGS: [(&str, &[&str]); 13] = [
    ("What is the ", &["Name the ", "Which is the ", "Tell me the "]),
    ("What was the ", &["Name the ", "Which was the ", "Tell me the "]),
    ("What are the ", &["Name the ", "Which are the ", "Tell me the "]),
    ("What were the ", &["Name the ", "Which were the ", "Tell me the "]),
    ("Who are ", &["Which people are "]),
    ("Who were ", &["Which people were "]),
    ("Who ", &["Which person "]),
    ("Where ", &["In which place ", "At what place "]),
    ("When ", &["At what time ", "On which date "]),
    ("Which of ", &[]),
    ("Which ", &["What "]),
    ("How many ", &["What number of "]),
    ("Why ", &["For what reason "]),
];

/// Templates and other question words.
pub(super) struct Paraphrase;

impl Variation for Paraphrase {
    fn name(&self) -> &'static str {
        "paraphrase"
    }

    fn summary(&self) -> &'static str {
        "the same question in other words"
    }

    fn vary(&self, prompt: &Prompt<'_>, count: usize, rng: &mut ChaCha8Rng) -> Vec<Variant> {
        let wordings = [framed(&FRAMES, prompt.question), reworded(prompt.question)].concat();
        draw(self.name(), prompt, wordings, count, rng)
    }
}

/// The question with other words at its beginning, as a request where it no longer asks.
fn reworded(question: &str) -> Vec<String> {
    let mut fitting = BEGINNINGS.iter().filter_map(|(beginning, others)| Some((question.strip_prefix(beginning)?, others)));
    let Some((rest, others)) = fitting.next() else { return Vec::new() };
    let request = |other: &str| other.starts_with("Name ") || other.starts_with("Tell ");
    let statement = rest.strip_suffix('?').map_or(rest.to_owned(), |rest| format!("{rest}."));
    others.iter().map(|other| format!("{other}{}", if request(other) { &statement } else { rest })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_words_are_exchanged() {
        let expected = ["Name the capital of Italy.", "Which is the capital of Italy?", "Tell me the capital of Italy."];
        assert_eq!(reworded("What is the capital of Italy?"), expected);
        assert_eq!(reworded("Where was Ada born?"), ["In which place was Ada born?", "At what place was Ada born?"]);
        assert_eq!(reworded("Who were the Beatles?"), ["Which people were the Beatles?"]);
        assert!(reworded("Is Rome in Italy?").is_empty() && reworded("Which of them won?").is_empty());
    }
}
