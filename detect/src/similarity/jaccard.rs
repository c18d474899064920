//! Shared words over all words.

use ndarray::Array2;

use super::{BackendError, Similarity, all_pairs, in_common};
use crate::text::Vocabulary;

/// Jaccard index of the sets of lower-cased words, as white space parts them: LM-Polygraph's `Jaccard_score`. Two texts without words are alike.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenJaccard;

impl Similarity for TokenJaccard {
    fn name(&self) -> &'static str {
        "jaccard"
    }

    fn matrix(&self, texts: &[&str]) -> Result<Array2<f64>, BackendError> {
        let words = sets(texts);
        Ok(all_pairs(texts.len(), |i, j| jaccard(&words[i], &words[j])))
    }

    fn to_each(&self, text: &str, others: &[&str]) -> Result<Vec<f64>, BackendError> {
        let texts: Vec<&str> = std::iter::once(text).chain(others.iter().copied()).collect();
        let words = sets(&texts);
        Ok(words[1..].iter().map(|other| jaccard(&words[0], other)).collect())
    }
}

/// The numbered words of every text, sorted, each once.
fn sets(texts: &[&str]) -> Vec<Vec<u32>> {
    let lower: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
    let mut vocabulary = Vocabulary::default();
    lower.iter().map(|text| set(vocabulary.number(text.split_whitespace()))).collect()
}

/// Sorted, each once.
fn set(mut words: Vec<u32>) -> Vec<u32> {
    words.sort_unstable();
    words.dedup();
    words
}

fn jaccard(a: &[u32], b: &[u32]) -> f64 {
    let common = in_common(a, b);
    let all = a.len() + b.len() - common;
    if all == 0 { 1.0 } else { common as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_count_once_and_in_any_case() {
        let matrix = TokenJaccard.matrix(&["in Rome in", "Rome Italy", "", " "]).expect("no model");
        assert_eq!((matrix[[0, 1]], matrix[[0, 2]], matrix[[2, 3]]), (1.0 / 3.0, 0.0, 1.0));
    }
}
