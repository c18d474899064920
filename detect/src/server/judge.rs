//! A model at a server as a judge: of a response, of the support that samples give it, of entailment between texts.

use std::collections::HashMap;

use super::answer::Answer;
use super::ask::{Ask, Input};
use super::choice::shares;
use super::error::ServerError;
use super::prompts::{self, RELATIONS, SUPPORT, TRUTH};
use super::remote::Remote;
use crate::entailment::Judgement;
use crate::record::{Judged, Record};
use crate::sentences::sentences;

/// Tokens that an answer may take: a word or a number, with a little room before it.
const SHORT: usize = 16;
/// Alternatives looked at; servers give at most 20 unless told otherwise.
const ALTERNATIVES: usize = 20;

/// A question about a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opinion {
    /// `judged.p_true`: is the response true?
    PTrue,
    /// `judged.p_true_sampling`: the same, with the samples shown.
    PTrueSampling,
    /// `judged.verbalised`: how probable, in a number.
    Verbalised,
    /// `judged.support`: does each sample support each sentence? One request for each pair of distinct texts.
    Support,
}

impl Opinion {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::PTrue, Self::PTrueSampling, Self::Verbalised, Self::Support];

    /// Its field of `judged`.
    pub fn name(self) -> &'static str {
        match self {
            Self::PTrue => "p_true",
            Self::PTrueSampling => "p_true_sampling",
            Self::Verbalised => "verbalised",
            Self::Support => "support",
        }
    }
}

/// A judge.
#[derive(Debug)]
pub struct Judge {
    remote: Remote,
    /// Whether first-token probabilities are asked for; without them a choice is all or nothing.
    logprobs: bool,
    seed: u64,
}

impl Judge {
    /// A judge that answers with its most probable word.
    pub fn new(remote: Remote, logprobs: bool, seed: u64) -> Self {
        Self { remote, logprobs, seed }
    }

    /// The model that judges.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// What the record has been judged to be, with these opinions new and the others as they were. An opinion that needs samples stays absent
    /// without them, and so does one that the judge does not give.
    ///
    /// # Errors
    /// When the server fails for good.
    pub fn judged(&self, record: &Record, opinions: &[Opinion]) -> Result<Judged, ServerError> {
        let mut judged = record.judged.clone().unwrap_or_default();
        for opinion in opinions {
            match opinion {
                Opinion::PTrue => judged.p_true = self.p_true(record, &[])?,
                Opinion::PTrueSampling if record.samples.is_empty() => judged.p_true_sampling = None,
                Opinion::PTrueSampling => judged.p_true_sampling = self.p_true(record, &record.sample_texts())?,
                Opinion::Verbalised => judged.verbalised = self.verbalised(record)?,
                Opinion::Support => judged.support = self.support(record)?,
            }
        }
        Ok(judged)
    }

    /// The relation of a hypothesis to a premise; `None` where the judge names none.
    ///
    /// # Errors
    /// When the server fails for good.
    pub fn relation(&self, premise: &str, hypothesis: &str) -> Result<Option<Judgement>, ServerError> {
        let asked = prompts::relation(premise, hypothesis, self.remote.endpoint());
        let found = shares(&self.ask(asked)?, &RELATIONS);
        let judgement = |shares: Vec<f64>| match shares[..] {
            [entailment, neutral, contradiction] => Some(Judgement { entailment, neutral, contradiction }),
            _ => None,
        };
        Ok(found.and_then(judgement))
    }

    fn p_true(&self, record: &Record, samples: &[&str]) -> Result<Option<f64>, ServerError> {
        let asked = prompts::truth(&record.prompt, &record.response, samples, self.remote.endpoint());
        Ok(shares(&self.ask(asked)?, &TRUTH).and_then(|shares| shares.first().copied()))
    }

    fn verbalised(&self, record: &Record) -> Result<Option<f64>, ServerError> {
        let asked = prompts::confidence(&record.prompt, &record.response, self.remote.endpoint());
        Ok(probability(&self.ask(asked)?.text))
    }

    /// `[sentences][samples]`; `None` without samples or sentences.
    fn support(&self, record: &Record) -> Result<Option<Vec<Vec<f64>>>, ServerError> {
        let (mut known, samples) = (HashMap::new(), record.sample_texts());
        let mut rows = Vec::new();
        for place in sentences(&record.response) {
            let sentence = record.response.get(place).unwrap_or_default();
            let row = samples.iter().map(|sample| self.unsupported(sentence, sample, &mut known));
            rows.push(row.collect::<Result<Vec<f64>, ServerError>>()?);
        }
        Ok((!rows.is_empty() && !samples.is_empty()).then_some(rows))
    }

    /// 0 = supported, 1 = not, 0.5 = neither said; equal texts are judged once.
    fn unsupported<'a>(
        &self,
        sentence: &'a str,
        sample: &'a str,
        known: &mut HashMap<(&'a str, &'a str), f64>,
    ) -> Result<f64, ServerError> {
        if let Some(&value) = known.get(&(sentence, sample)) {
            return Ok(value);
        }
        let answer = self.ask(prompts::support(sentence, sample, self.remote.endpoint()))?;
        let value = match shares(&answer, &SUPPORT).as_deref() {
            Some([yes, no]) if yes != no => f64::from(u8::from(no > yes)),
            _ => 0.5,
        };
        known.insert((sentence, sample), value);
        Ok(value)
    }

    fn ask(&self, input: Input) -> Result<Answer, ServerError> {
        let top_logprobs = self.logprobs.then_some(ALTERNATIVES);
        let ask = Ask { input, answers: 1, temperature: 0.0, max_tokens: SHORT, seed: self.seed, top_logprobs };
        Ok(self.remote.answers(&ask)?.into_iter().next().unwrap_or_default())
    }
}

/// The first number of a text as a probability: `0.8`, `.8`, `80 %`; `None` without a number, or where it is no probability.
fn probability(text: &str) -> Option<f64> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let point = usize::from(text[..start].ends_with('.'));
    let rest = &text[start - point..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let number: f64 = rest[..end].trim_end_matches('.').parse().ok()?;
    let percent = rest[end..].trim_start().starts_with('%');
    let negative = text[..start - point].ends_with('-');
    Some(if percent { number / 100.0 } else { number }).filter(|value| (0.0..=1.0).contains(value) && !negative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_is_read_from_words() {
        let cases = [
            ("0.85", Some(0.85)),
            ("Probability: .5.", Some(0.5)),
            ("About 90 %.", Some(0.9)),
            ("1", Some(1.0)),
            ("0", Some(0.0)),
            ("90", None),
            ("-0.5", None),
            ("1.2.3", None),
            ("quite sure", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(probability(text), expected, "{text}");
        }
    }
}
