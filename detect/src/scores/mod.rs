//! The scores: one file each, in a folder by what they cost, listed once there. Higher = more suspect, for every score.
//!
//! To add one, write a file with a unit struct that implements [`Scorer`], and two lines in the folder's `mod.rs`.

mod case;
mod comparison;
mod inputs;
mod learned;
mod length;
mod one_pass;
mod sampling;
mod training;

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::similarity::BackendError;

pub use case::Case;
pub use sampling::sentence_surprises;
pub use training::{Learned, Model, Training};

/// The baseline every table carries: a score that does not beat it has found nothing but long answers.
pub const LENGTH: &str = "length";

/// What one should know of a score.
#[derive(Debug, Clone, Copy)]
pub struct Card {
    /// Its name on the command line and in files.
    pub name: &'static str,
    /// The record's fields it reads beyond `response`.
    pub needs: &'static [&'static str],
    /// What the model has to do for it.
    pub cost: Cost,
    /// The paper or program that defines it.
    pub citation: &'static str,
    /// The definition in one line.
    pub summary: &'static str,
}

/// A score of a record.
pub trait Scorer: Sync {
    /// What one should know of it.
    fn card(&self) -> &'static Card;
    /// The score of a record, higher = more suspect.
    ///
    /// # Errors
    /// [`Missing`] says what the record lacks.
    fn score(&self, case: &Case<'_>) -> Result<f64, Missing>;
    /// How it learns, if it is a learned score.
    fn learned(&self) -> Option<&dyn Learned> {
        None
    }
    /// Its name on the command line and in files.
    fn name(&self) -> &'static str {
        self.card().name
    }
    /// Whether generating the response alone is enough.
    fn single_pass(&self) -> bool {
        matches!(self.card().cost, Cost::Text | Cost::OnePass)
    }
}

/// What a score costs beyond having the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// Nothing: the text is enough.
    Text,
    /// Numbers that fall out of generating the response.
    OnePass,
    /// One or a few further passes of the model over the response, or short answers of its own.
    ExtraPass,
    /// Further sampled answers, each as dear as the response.
    Samples,
    /// Sampled answers, and a model that compares texts.
    Comparison,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Text => "text",
            Self::OnePass => "one pass",
            Self::ExtraPass => "extra pass",
            Self::Samples => "samples",
            Self::Comparison => "samples, comparing model",
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
    /// The field is there but is no probability.
    #[error("a {0} from 0 to 1")]
    Probability(&'static str),
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
    /// No entailment model was given.
    #[error("an entailment model")]
    Entailment,
    /// The learned score was not fitted.
    #[error("fitted parameters of {0}")]
    Fit(&'static str),
    /// The record has hidden states, but not those the fitted parameters read.
    #[error("{field} of layer {layer}")]
    Layer {
        /// The field.
        field: &'static str,
        /// The layer.
        layer: usize,
    },
    /// The record is of another model than the parameters were fitted on.
    #[error("{expected} numbers in {field} ({found} found)")]
    Width {
        /// The field.
        field: &'static str,
        /// How many the parameters take.
        expected: usize,
        /// How many the record has.
        found: usize,
    },
    /// A learned score is not judged on what it was fitted on.
    #[error("a fit that has not seen them")]
    Unseen,
    /// A score of other scores lacks one of them.
    #[error("the score {name} ({lacks})")]
    Score {
        /// The other score.
        name: String,
        /// What that one lacks.
        lacks: String,
    },
    /// A back-end failed.
    #[error("a working back-end ({0})")]
    Backend(#[from] BackendError),
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
    static ALL: LazyLock<Vec<&dyn Scorer>> =
        LazyLock::new(|| [one_pass::SCORERS, sampling::SCORERS, comparison::SCORERS, learned::SCORERS, &[&length::Length]].concat());
    &ALL
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
    use crate::record::Record;

    #[test]
    fn names_are_unique_and_found() {
        for scorer in registry() {
            assert_eq!(registry().iter().filter(|other| other.name() == scorer.name()).count(), 1);
            assert_eq!(find(scorer.name()).expect("registered").name(), scorer.name());
            assert!(!scorer.card().citation.is_empty() && !scorer.card().summary.is_empty());
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
            assert_eq!(scorer.score(&Case::new(&bare)).is_ok(), scorer.card().needs.is_empty(), "{}", scorer.name());
        }
    }
}
