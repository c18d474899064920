//! A task as data: where its rows lie, how a row becomes a prompt, and what is measured. Every field that reads a row is a Jinja template or
//! expression over its columns.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::builtin;
use crate::common::read_text;

/// A benchmark task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// Where it comes from, and by whom it is used how.
    pub about: String,
    /// Name of the file of rows, without extension; of several the first that is there.
    pub data: Vec<String>,
    /// Template of a condition; rows for which it does not say `true` are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
    /// The examples before each question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<Examples>,
    /// Template of what stands before everything.
    #[serde(default)]
    pub description: String,
    /// What is asked of a row.
    pub ask: Ask,
    /// Template of the name of a row's group, for which figures are given too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What is measured, the first being the task's own figure.
    pub metrics: Vec<Metric>,
}

/// Examples with their answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Examples {
    /// Name of the file of rows they are taken from, the first ones in its order; of several the first that is there.
    pub data: Vec<String>,
    /// How many.
    pub shots: usize,
    /// Whether only rows of the question's own group are taken.
    #[serde(default)]
    pub of_group: bool,
}

/// What is asked of a row. A context and what follows it are told apart by `delimiter`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Which of several continuations is the most probable after a context.
    Choices {
        /// Template of the context.
        context: String,
        /// Expression: the list of continuations.
        choices: String,
        /// Expression: place of the right one.
        gold: String,
        /// Expression: 1 for each right continuation and 0 for each wrong one, where several are right.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        labels: Option<String>,
        /// Between context and continuation.
        #[serde(default = "blank")]
        delimiter: String,
    },
    /// After which of several contexts a continuation is the most probable (partial evaluation, Trinh and Le 2018, arXiv 1806.02847).
    Contexts {
        /// Expression: the list of contexts.
        contexts: String,
        /// Template of the continuation.
        continuation: String,
        /// Expression: place of the right context.
        gold: String,
        /// Between context and continuation.
        #[serde(default = "blank")]
        delimiter: String,
    },
    /// Whether, and how surely, a given continuation follows.
    Continuation {
        /// Template of the context.
        context: String,
        /// Template of the continuation.
        continuation: String,
        /// Between context and continuation.
        #[serde(default = "blank")]
        delimiter: String,
    },
    /// How probable whole documents are.
    Text {
        /// Template of the document.
        text: String,
    },
    /// What the model writes.
    Generation {
        /// Template of the context.
        context: String,
        /// Template of the right answer, as examples give it.
        answer: String,
        /// Texts that end an answer.
        until: Vec<String>,
        /// Longest answer, tokens.
        max_new_tokens: usize,
        /// Between context and answer.
        #[serde(default = "blank")]
        delimiter: String,
    },
}

fn blank() -> String {
    " ".to_owned()
}

/// What is measured of a task, as lm-evaluation-harness defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of rows whose right choice is the most probable, or whose continuation is what the model would say.
    Acc,
    /// The same with log-probabilities divided by the characters of each choice.
    AccNorm,
    /// Probability of the right choices among all.
    Mc2,
    /// Share of answers whose last number is the right one.
    ExactMatch,
    /// Share of answers whose number after `####` is the right one.
    StrictMatch,
    /// exp of the mean negative log-probability of a row's continuation.
    Perplexity,
    /// exp of the negative log-probability of a word.
    WordPerplexity,
    /// exp of the negative log-probability of a byte.
    BytePerplexity,
    /// exp of the negative log-probability of a token.
    TokenPerplexity,
}

impl Metric {
    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acc => "acc",
            Self::AccNorm => "acc_norm",
            Self::Mc2 => "mc2",
            Self::ExactMatch => "exact_match",
            Self::StrictMatch => "strict_match",
            Self::Perplexity => "perplexity",
            Self::WordPerplexity => "word_perplexity",
            Self::BytePerplexity => "byte_perplexity",
            Self::TokenPerplexity => "token_perplexity",
        }
    }

    /// Whether a row of this kind has it.
    fn suits(self, ask: &Ask) -> bool {
        match ask {
            Ask::Choices { labels, .. } => matches!(self, Self::Acc | Self::AccNorm) || (self == Self::Mc2 && labels.is_some()),
            Ask::Contexts { .. } => self == Self::Acc,
            Ask::Continuation { .. } => matches!(self, Self::Acc | Self::Perplexity),
            Ask::Text { .. } => matches!(self, Self::WordPerplexity | Self::BytePerplexity | Self::TokenPerplexity),
            Ask::Generation { .. } => matches!(self, Self::ExactMatch | Self::StrictMatch),
        }
    }
}

impl Task {
    /// The task of that name, or the one that a TOML file holds.
    ///
    /// # Errors
    /// A name that is neither, a file that is no task.
    pub fn find(name: &str) -> Result<Self> {
        match builtin::text(name) {
            Some(text) => Self::from_toml(text),
            None if Path::new(name).extension().is_some_and(|extension| extension == "toml") => {
                Self::from_toml(&read_text(Path::new(name))?).with_context(|| name.to_owned())
            }
            None => bail!("unknown task `{name}`; did you mean `{}`? A file of your own ends in .toml", builtin::nearest(name)),
        }
    }

    /// # Errors
    /// Fields that are missing, unknown or do not go together.
    pub fn from_toml(text: &str) -> Result<Self> {
        let task: Self = toml::from_str(text)?;
        if task.data.is_empty() || task.metrics.is_empty() {
            bail!("task {}: data and metrics each need one entry at least", task.name);
        }
        match task.metrics.iter().find(|metric| !metric.suits(&task.ask)) {
            Some(metric) => bail!("task {}: this kind of question has no {}", task.name, metric.name()),
            None => Ok(task),
        }
    }
}
