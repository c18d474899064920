//! The names of what is measured.

use serde::{Deserialize, Serialize};

use super::task::Kind;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The most probable choice is the right one; the continuation is the most probable text.
    Acc,
    /// As `acc`, log-probabilities divided by the choice's length in characters.
    AccNorm,
    /// Share of the probability that falls on right choices (TruthfulQA's MC2).
    Mc2,
    /// The filtered answer is a right one.
    ExactMatch,
    /// `exp` of the mean negative log-probability of a continuation.
    Perplexity,
    /// `exp` of the negative log-probability per word.
    WordPerplexity,
    /// `exp` of the negative log-probability per byte.
    BytePerplexity,
    /// `exp` of the negative log-probability per token.
    TokenPerplexity,
    /// Negative log-probability per byte, in bits.
    BitsPerByte,
    /// The judge's mark, 1 to 10.
    Rating,
}

impl Metric {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acc => "acc",
            Self::AccNorm => "acc_norm",
            Self::Mc2 => "mc2",
            Self::ExactMatch => "exact_match",
            Self::Perplexity => "perplexity",
            Self::WordPerplexity => "word_perplexity",
            Self::BytePerplexity => "byte_perplexity",
            Self::TokenPerplexity => "token_perplexity",
            Self::BitsPerByte => "bits_per_byte",
            Self::Rating => "rating",
        }
    }

    /// The kinds of task it means something for.
    pub fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Acc => &[Kind::MultipleChoice, Kind::Continuation],
            Self::AccNorm | Self::Mc2 => &[Kind::MultipleChoice],
            Self::ExactMatch => &[Kind::Generation],
            Self::Perplexity => &[Kind::Continuation],
            Self::WordPerplexity | Self::BytePerplexity | Self::TokenPerplexity | Self::BitsPerByte => &[Kind::Perplexity],
            Self::Rating => &[Kind::Judged],
        }
    }
}
