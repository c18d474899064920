//! Where, not only whether: the sentences, claims, names, numbers and dates of a response, each with what its own tokens and the samples say of it.
//!
//! A response is seldom wrong throughout, and its score tells nobody which part to check. No model takes it apart here: rules find sentences
//! ([`sentences`](crate::sentences)), clauses and what is written like a fact. Places are counted in characters (Unicode scalar values), the way
//! Python and most readers of JSON index a text, not in bytes.

mod candidates;
mod clauses;
mod dates;
mod offsets;
mod support;
mod traces;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::scores::{Case, Missing};
use crate::sentences::sentences;
use offsets::Characters;
use traces::Traces;

pub use candidates::Kind;
pub use traces::{FIRST_TOKEN_ENTROPY, FIRST_TOKEN_NLL, MAX_TOKEN_NLL, MEAN_TOKEN_ENTROPY};

/// Share of a sentence's samples that the model, asked, does not find to support it: `judged.support`, mean over samples.
pub const SELFCHECK_PROMPT: &str = "selfcheck_prompt";
/// What a span without traces is scored by: the share of samples without its words.
pub const ABSENT: &str = "absent_from_samples";

/// A sentence or a claim of a response.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its words, as they stand in the response.
    pub text: String,
    /// Where it begins, characters.
    pub start: usize,
    /// Where it ends, characters; the first behind it.
    pub end: usize,
    /// Scores by name, higher = more suspect: [`FIRST_TOKEN_ENTROPY`], [`FIRST_TOKEN_NLL`], [`MEAN_TOKEN_ENTROPY`], [`MAX_TOKEN_NLL`], and of
    /// sentences [`SELFCHECK_PROMPT`], as far as the record has what they read.
    pub scores: BTreeMap<String, f64>,
    /// How far the samples say the same, 0 to 1: with an entailment model the mean probability that a sample entails the part, else the mean
    /// share of the part's words that a sample has. Null without samples.
    pub support: Option<f64>,
}

/// A name, number or date of a response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Its words, as they stand in the response.
    pub text: String,
    /// Where it begins, characters.
    pub start: usize,
    /// Where it ends, characters; the first behind it.
    pub end: usize,
    /// What it is.
    pub kind: Kind,
    /// How suspect it is.
    pub score: f64,
    /// What `score` is: the first of [`FIRST_TOKEN_ENTROPY`], [`FIRST_TOKEN_NLL`] and [`ABSENT`] that the record allows.
    pub by: String,
    /// Share of samples that have its words one after the other; null without samples.
    pub support: Option<f64>,
}

/// The parts of a response.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parts {
    /// Its sentences, in order.
    pub sentences: Vec<Part>,
    /// Its claims, in order: the clauses of its sentences.
    pub claims: Vec<Part>,
    /// Its names, numbers and dates that can be scored, in order.
    pub spans: Vec<Span>,
    /// What the record lacks, for `sentences[].scores` and `sentences[].support`; those of claims and spans lack the same.
    pub missing: BTreeMap<String, String>,
}

/// Takes the response of a case apart and scores the parts. What the record lacks is named and the rest is scored.
pub fn parts(case: &Case<'_>) -> Parts {
    let response = &case.record.response;
    let sentences = sentences(response);
    let claims: Vec<Range<usize>> = sentences.iter().flat_map(|sentence| clauses::clauses(response, sentence)).collect();
    let candidates: Vec<_> = sentences.iter().flat_map(|sentence| candidates::candidates(response, sentence)).collect();
    let mut taken = Taken { case, characters: Characters::of(response), traces: None, missing: BTreeMap::new() };
    taken.traces = taken.or_missing("sentences[].scores", Traces::of(case.record));
    let all: Vec<Range<usize>> = sentences.iter().chain(&claims).cloned().collect();
    let mut found = taken.parts(&all);
    let claims = found.split_off(sentences.len());
    add_judged(case, &mut found);
    Parts { sentences: found, claims, spans: taken.spans(&candidates), missing: taken.missing }
}

/// A case and what all of its parts share.
struct Taken<'a> {
    case: &'a Case<'a>,
    characters: Characters,
    traces: Option<Traces<'a>>,
    missing: BTreeMap<String, String>,
}

impl Taken<'_> {
    /// The value, or a note of what is missing.
    fn or_missing<T>(&mut self, what: &str, value: Result<T, Missing>) -> Option<T> {
        value.map_err(|missing| self.missing.insert(what.to_owned(), missing.to_string())).ok()
    }

    /// The text at each place.
    fn texts<'b>(&'b self, places: impl Iterator<Item = &'b Range<usize>>) -> Vec<&'b str> {
        places.map(|place| self.case.record.response.get(place.clone()).unwrap_or_default()).collect()
    }

    fn parts(&mut self, places: &[Range<usize>]) -> Vec<Part> {
        let support = support::support(self.case, &self.texts(places.iter()));
        let support = self.or_missing("sentences[].support", support).unwrap_or_else(|| vec![None; places.len()]);
        let texts = self.texts(places.iter());
        let part = |((place, text), support): ((&Range<usize>, &str), Option<f64>)| {
            let Range { start, end } = self.characters.range(place);
            Part { text: text.to_owned(), start, end, scores: self.traced(place), support }
        };
        places.iter().zip(texts).zip(support).map(part).collect()
    }

    fn spans(&self, candidates: &[(Range<usize>, Kind)]) -> Vec<Span> {
        let texts = self.texts(candidates.iter().map(|(place, _)| place));
        let support = support::containment(self.case, &texts).unwrap_or_else(|_| vec![None; texts.len()]);
        let mut spans = Vec::new();
        for ((&(ref place, kind), text), support) in candidates.iter().zip(texts).zip(support) {
            let Range { start, end } = self.characters.range(place);
            let scored = self.suspicion(place, support);
            spans.extend(scored.map(|(by, score)| Span { text: text.to_owned(), start, end, kind, score, by: by.to_owned(), support }));
        }
        spans
    }

    /// The scores of the tokens at a place.
    fn traced(&self, place: &Range<usize>) -> BTreeMap<String, f64> {
        self.traces.as_ref().map(|traces| traces.scores(place)).unwrap_or_default()
    }

    /// What a span is scored by, and the score.
    fn suspicion(&self, place: &Range<usize>, support: Option<f64>) -> Option<(&'static str, f64)> {
        let scores = self.traced(place);
        let traced = |name: &'static str| scores.get(name).map(|&score| (name, score));
        traced(FIRST_TOKEN_ENTROPY).or_else(|| traced(FIRST_TOKEN_NLL)).or(support.map(|support| (ABSENT, 1.0 - support)))
    }
}

/// Adds what the model said of each sentence, where it was asked about these.
fn add_judged(case: &Case<'_>, sentences: &mut [Part]) {
    let rows = case.record.judged.as_ref().and_then(|judged| judged.support.as_deref()).unwrap_or_default();
    if rows.len() != sentences.len() {
        return;
    }
    for (sentence, row) in sentences.iter_mut().zip(rows).filter(|(_, row)| !row.is_empty()) {
        sentence.scores.insert(SELFCHECK_PROMPT.to_owned(), row.iter().sum::<f64>() / row.len() as f64);
    }
}
