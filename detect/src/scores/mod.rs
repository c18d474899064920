//! The scores: one file each, listed once in [`registry`]. Higher = more suspect, for every score.
//!
//! To add one, write a file with a unit struct that implements [`Scorer`], and a line in [`registry`].

mod discrete_semantic_entropy;
mod exact_match_rate;
mod inputs;
mod length;
mod lexical_similarity;
mod max_token_entropy;
mod mean_token_entropy;
mod msp;
mod perplexity;
mod semantic_entropy;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::record::Record;

/// The baseline every table carries: a score that does not beat it has found nothing but long answers.
pub const LENGTH: &str = "length";

/// A score of a record.
pub trait Scorer: Sync {
    /// Its name on the command line and in files.
    fn name(&self) -> &'static str;
    /// The record's fields it reads beyond `response`.
    fn needs(&self) -> &'static [&'static str];
    /// What the model has to do for it.
    fn cost(&self) -> Cost;
    /// The paper or program that defines it.
    fn citation(&self) -> &'static str;
    /// The definition in one line.
    fn summary(&self) -> &'static str;
    /// Whether generating the response alone is enough.
    fn single_pass(&self) -> bool {
        self.cost() != Cost::Samples
    }
    /// The score of a record, higher = more suspect.
    ///
    /// # Errors
    /// [`Missing`] says what the record lacks.
    fn score(&self, record: &Record) -> Result<f64, Missing>;
}

/// What a score costs beyond having the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// Nothing: the text is enough.
    Text,
    /// Numbers that fall out of generating the response.
    OnePass,
    /// Further sampled answers, each as dear as the response.
    Samples,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Text => "text",
            Self::OnePass => "one pass",
            Self::Samples => "samples",
        })
    }
}

/// What a record lacks for a score.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The field is absent.
    #[error("{0}")]
    Field(&'static str),
    /// The field is there but has no entries.
    #[error("a non-empty {0}")]
    Entries(&'static str),
    /// Too few samples.
    #[error("samples (at least {needed} needed, {found} found)")]
    Samples {
        /// How many the score needs.
        needed: usize,
        /// How many the record has.
        found: usize,
    },
    /// A sample lacks a field, or has it without entries.
    #[error("{field} of every sample (absent from sample {index})")]
    SampleField {
        /// The field.
        field: &'static str,
        /// The first sample without it, from 0.
        index: usize,
    },
    /// The numbers are there, but the score is not a finite number.
    #[error("finite inputs")]
    Finite,
}

/// A name that no score has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown score `{name}`; did you mean `{nearest}`?")]
pub struct UnknownScore {
    /// The name that was asked for.
    pub name: String,
    /// The nearest one there is.
    pub nearest: &'static str,
}

/// All scores, in the order they are listed.
pub fn registry() -> &'static [&'static dyn Scorer] {
    &[
        &msp::Msp,
        &perplexity::Perplexity,
        &mean_token_entropy::MeanTokenEntropy,
        &max_token_entropy::MaxTokenEntropy,
        &exact_match_rate::ExactMatchRate,
        &lexical_similarity::LexicalSimilarity,
        &discrete_semantic_entropy::DiscreteSemanticEntropy,
        &semantic_entropy::SemanticEntropy,
        &length::Length,
    ]
}

/// The score of that name.
///
/// # Errors
/// [`UnknownScore`] names the nearest one.
pub fn find(name: &str) -> Result<&'static dyn Scorer, UnknownScore> {
    registry()
        .iter()
        .copied()
        .find(|scorer| scorer.name() == name)
        .ok_or_else(|| UnknownScore { name: name.to_owned(), nearest: nearest(name) })
}

fn nearest(name: &str) -> &'static str {
    let distance = |scorer: &&&dyn Scorer| strsim::damerau_levenshtein(&name.to_lowercase(), scorer.name());
    registry().iter().min_by_key(distance).map_or(LENGTH, |scorer| scorer.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for scorer in registry() {
            assert_eq!(registry().iter().filter(|other| other.name() == scorer.name()).count(), 1);
            assert_eq!(find(scorer.name()).expect("registered").name(), scorer.name());
            assert!(!scorer.citation().is_empty() && !scorer.summary().is_empty());
        }
    }

    #[test]
    fn an_unknown_name_gets_the_nearest() {
        let error = find("semantic_entrpy").map(|scorer| scorer.name()).expect_err("misspelt");
        assert_eq!(error.to_string(), "unknown score `semantic_entrpy`; did you mean `semantic_entropy`?");
    }

    #[test]
    fn a_bare_record_lacks_what_each_score_needs() {
        let bare = Record { id: "a".into(), ..Record::default() };
        for scorer in registry() {
            assert_eq!(scorer.score(&bare).is_ok(), scorer.needs().is_empty(), "{}", scorer.name());
        }
    }
}
