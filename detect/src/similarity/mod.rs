//! How alike answers are: similarity back-ends, matrices of all pairs, and clusters of equivalent answers.
//!
//! A back-end fills a whole matrix at once, so that one which runs a model can batch the pairs.

mod bleu;
mod exact_match;
mod hidden;
mod jaccard;
mod rouge;

use std::collections::HashMap;
use std::fmt;

use ndarray::Array2;

use crate::record::Record;
use crate::scores::Missing;
pub(crate) use bleu::{Grams, sentence_bleu};

pub use exact_match::{NormalisedExactMatch, normalise};
pub use hidden::HiddenStates;
pub use jaccard::TokenJaccard;
pub use rouge::{Rouge1, RougeL};

/// Similarity of texts.
pub trait Similarity: Sync + Send + fmt::Debug {
    /// The back-end's name.
    fn name(&self) -> &'static str;
    /// What tells it from any other back-end that a case may be compared with: its name, and of a model where it lies.
    fn key(&self) -> &str {
        self.name()
    }
    /// Similarity of all pairs, `[n, n]`: in 0 to 1, symmetric, 1 on the diagonal.
    ///
    /// # Errors
    /// When the model behind it fails.
    fn matrix(&self, texts: &[&str]) -> Result<Array2<f64>, BackendError>;
    /// Similarity of one text to each of others, in order. The default fills the matrix of them all; a back-end that pays for every pair has
    /// a better way.
    ///
    /// # Errors
    /// When the model behind it fails.
    fn to_each(&self, text: &str, others: &[&str]) -> Result<Vec<f64>, BackendError> {
        let texts: Vec<&str> = std::iter::once(text).chain(others.iter().copied()).collect();
        Ok(self.matrix(&texts)?.row(0).iter().skip(1).copied().collect())
    }
    /// Similarity of a record's answers, `[1 + samples, 1 + samples]`, for a back-end that reads more of them than their texts; else `None`, and
    /// [`Similarity::matrix`] compares the texts.
    fn answers(&self, _record: &Record) -> Option<Result<Array2<f64>, Missing>> {
        None
    }
    /// How many texts were longer than the back-end takes, and cut, so far.
    fn truncated(&self) -> u64 {
        0
    }
}

/// A back-end's model failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{backend}: {reason}")]
pub struct BackendError {
    /// The back-end.
    pub backend: &'static str,
    /// What it says.
    pub reason: String,
}

/// Cosine of two vectors, -1 to 1; 0 where one of them is 0 or they differ in length.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if a.len() == b.len() && norms > 0.0 { (dot(a, b) / norms).clamp(-1.0, 1.0) } else { 0.0 }
}

/// Mean over all pairs i < j of a similarity matrix `[n, n]`; `None` below two texts.
pub fn mean_pairwise(similarity: &Array2<f64>) -> Option<f64> {
    let n = similarity.nrows();
    let pairs = n * n.saturating_sub(1) / 2;
    (pairs > 0).then(|| (similarity.sum() - similarity.diag().sum()) / 2.0 / pairs as f64)
}

/// Cluster number of every text, from 0 in order of first appearance. Greedy, after Farquhar et al. 2024: a text joins the first cluster to
/// whose *first* member it is `equivalent`, `[n, n]`, else it opens a new one.
pub fn clusters(equivalent: &Array2<bool>) -> Vec<usize> {
    let mut firsts: Vec<usize> = Vec::new();
    (0..equivalent.nrows())
        .map(|text| {
            firsts.iter().position(|&first| equivalent[[first, text]]).unwrap_or_else(|| {
                firsts.push(text);
                firsts.len() - 1
            })
        })
        .collect()
}

/// The distinct texts in order of first appearance, and which of them each text is.
pub fn unique<'a>(texts: &[&'a str]) -> (Vec<&'a str>, Vec<usize>) {
    let (mut distinct, mut known) = (Vec::new(), HashMap::new());
    let place = |&text: &&'a str| {
        *known.entry(text).or_insert_with(|| {
            distinct.push(text);
            distinct.len() - 1
        })
    };
    let places = texts.iter().map(place).collect();
    (distinct, places)
}

/// A matrix over all texts from one over the distinct ones.
pub fn expand<T: Copy>(among: &Array2<T>, places: &[usize]) -> Array2<T> {
    Array2::from_shape_fn((places.len(), places.len()), |(i, j)| among[[places[i], places[j]]])
}

/// Size of the intersection of two sorted lists as multisets.
fn in_common<T: Ord>(mut a: &[T], mut b: &[T]) -> usize {
    let mut common = 0;
    while let ([x, after_x @ ..], [y, after_y @ ..]) = (a, b) {
        let order = x.cmp(y);
        common += usize::from(order.is_eq());
        (a, b) = (if order.is_le() { after_x } else { a }, if order.is_ge() { after_y } else { b });
    }
    common
}

/// Fills a symmetric matrix with ones on the diagonal from the pairs i < j.
pub(crate) fn all_pairs(n: usize, mut pair: impl FnMut(usize, usize) -> f64) -> Array2<f64> {
    let mut matrix = Array2::eye(n);
    for i in 0..n {
        for j in i + 1..n {
            matrix[[i, j]] = pair(i, j);
            matrix[[j, i]] = matrix[[i, j]];
        }
    }
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_cluster_is_judged_by_its_first_member() {
        // 1 resembles 0, 2 resembles 1 but not 0: the chain is cut.
        let chain = array![[1., 1., 0.], [1., 1., 1.], [0., 1., 1.]];
        assert_eq!(clusters(&chain.mapv(|similarity| similarity >= 0.5)), [0, 0, 1]);
        assert_eq!(mean_pairwise(&chain), Some(2.0 / 3.0));
        assert_eq!(mean_pairwise(&array![[1.0]]), None);
    }

    #[test]
    fn a_matrix_over_distinct_texts_stands_for_all() {
        let texts = ["b", "a", "b"];
        let (distinct, places) = unique(&texts);
        assert_eq!((distinct.as_slice(), places.as_slice()), (["b", "a"].as_slice(), [0, 1, 0].as_slice()));
        let among = array![[1.0, 0.3], [0.3, 1.0]];
        assert_eq!(expand(&among, &places), array![[1.0, 0.3, 1.0], [0.3, 1.0, 0.3], [1.0, 0.3, 1.0]]);
    }
}
