//! Scores of several samples that need no second model.

mod exact_match_rate;
mod lexical_similarity;

use crate::scores::Scorer;

/// In the order they are listed.
pub(super) const SCORERS: &[&dyn Scorer] = &[&exact_match_rate::ExactMatchRate, &lexical_similarity::LexicalSimilarity];
