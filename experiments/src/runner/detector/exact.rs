//! Who says what of the world's facts: each question has one kind of answer, so that two answers either are the same or cannot both be true.

use coppice_detect::entailment::{Entailment, Judgement};
use coppice_detect::similarity::BackendError;
use coppice_upcycle::world::normalised;

/// What stands before an answer.
const ANSWER: &str = "Answer:";

/// The judge of entailment that the world itself is: same answer, or contradiction.
#[derive(Debug, Clone, Copy)]
pub struct SameFact;

impl Entailment for SameFact {
    fn name(&self) -> &'static str {
        "same fact"
    }

    fn judge(&self, pairs: &[(&str, &str)]) -> Result<Vec<Judgement>, BackendError> {
        let judge = |&(premise, hypothesis): &(&str, &str)| {
            let same = fact(premise) == fact(hypothesis);
            if same { Judgement::SAME } else { Judgement { entailment: 0.0, neutral: 0.0, contradiction: 1.0 } }
        };
        Ok(pairs.iter().map(judge).collect())
    }
}

/// The answer of a text, which may have its question before it.
fn fact(text: &str) -> String {
    normalised(text.rsplit(ANSWER).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_the_same_or_contradict_with_or_without_their_question() {
        let asked = "Question: Where was Ada born? Answer:";
        let pairs = [(" Oslo", " oslo."), (" Oslo", " Rome")];
        let with_question = pairs.map(|(a, b)| (format!("{asked}\n{a}"), format!("{asked}\n{b}")));
        let relations = |pairs: &[(&str, &str)]| SameFact.judge(pairs).unwrap().iter().map(Judgement::entails).collect::<Vec<_>>();
        assert_eq!(relations(&pairs), [true, false]);
        assert_eq!(relations(&with_question.each_ref().map(|(a, b)| (a.as_str(), b.as_str()))), [true, false]);
    }
}
