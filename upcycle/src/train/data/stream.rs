//! The tokens of a corpus in one row, and where its documents begin.

use std::ops::Range;
use std::sync::Arc;

use tch::Tensor;

use super::Batch;
use crate::corpus::TokenizedCorpus;
use crate::train::error::{Result, TrainError};

/// How many documents a message names.
const TOLD: usize = 20;

/// Token ids of many documents in one row; clones share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenStream {
    ids: Arc<[u32]>,
    starts: Arc<[usize]>, // where each document begins, ascending
}

impl From<TokenizedCorpus> for TokenStream {
    fn from(corpus: TokenizedCorpus) -> Self {
        Self { ids: corpus.tokens.into(), starts: corpus.starts.into() }
    }
}

impl TokenStream {
    /// A stream of these ids, taken for one document.
    pub fn new(ids: impl Into<Arc<[u32]>>) -> Self {
        Self { ids: ids.into(), starts: [0].into() }
    }

    /// A stream of documents, the first of which begins with the first id.
    ///
    /// # Errors
    /// When the starts do not ascend from 0 within the ids.
    pub fn of_documents(ids: impl Into<Arc<[u32]>>, starts: impl Into<Arc<[usize]>>) -> Result<Self> {
        let (ids, starts) = (ids.into(), starts.into());
        let ascend = starts.windows(2).all(|pair| pair[0] < pair[1]);
        let within = starts.first() == Some(&0) && starts.last().is_some_and(|&last| last < ids.len());
        let told = || TrainError::Tokens(format!("documents must begin in ascending order within {} tokens, the first at 0", ids.len()));
        if ascend && within { Ok(Self { ids, starts }) } else { Err(told()) }
    }

    /// The ids.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// How many documents there are.
    pub fn documents(&self) -> usize {
        self.starts.len()
    }

    /// Hash of the ids, by which a resumed run knows its data again.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for chunk in self.ids.chunks(1 << 14) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|id| id.to_le_bytes()).collect();
            hasher.update(&bytes);
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Refuses ids that are not in a vocabulary of `size`.
    ///
    /// # Errors
    /// Names the first such id and its place.
    pub fn check(&self, size: i64) -> Result<()> {
        match self.ids.iter().position(|&id| i64::from(id) >= size) {
            Some(at) => Err(TrainError::Tokens(format!("id {} at position {at} is outside the vocabulary of {size}", self.ids[at]))),
            None => Ok(()),
        }
    }

    /// How many whole blocks of `length` predicted tokens there are.
    pub fn blocks(&self, length: usize) -> usize {
        self.ids.len().saturating_sub(1) / length
    }

    /// The blocks of the given indices, `length + 1` tokens each; `reset` tells where documents begin in them.
    pub(in crate::train) fn gather(&self, indices: &[usize], length: usize, reset: bool) -> Result<Batch> {
        let rows = indices.iter().flat_map(|&block| &self.ids[block * length..][..length + 1]);
        let ids: Vec<i64> = rows.map(|&id| i64::from(id)).collect();
        let starts = reset.then(|| indices.iter().map(|&block| self.starts_in(block * length, length)).collect());
        Ok(Batch { ids: Tensor::f_from_slice(&ids)?.f_view([indices.len() as i64, -1])?, starts })
    }

    /// Where documents begin among the `length` inputs from token `from` on, counted from there.
    fn starts_in(&self, from: usize, length: usize) -> Vec<i64> {
        let first = self.starts.partition_point(|&start| start < from);
        self.starts[first..].iter().take_while(|&&start| start < from + length).map(|&start| (start - from) as i64).collect()
    }

    /// The documents that the tokens of a block belong to, by their number in the corpus, counted from 0.
    fn documents_of(&self, block: usize, length: usize) -> Range<usize> {
        let number = |token: usize| self.starts.partition_point(|&start| start <= token);
        number(block * length).saturating_sub(1)..number(block * length + length)
    }

    /// The documents of some blocks in a few words.
    pub(super) fn told_documents(&self, blocks: &[usize], length: usize) -> String {
        let mut numbers: Vec<usize> = blocks.iter().flat_map(|&block| self.documents_of(block, length)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut told: Vec<String> = numbers.iter().take(TOLD).map(usize::to_string).collect();
        if numbers.len() > TOLD {
            told.push(format!("and {} more", numbers.len() - TOLD));
        }
        told.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> TokenStream {
        TokenStream::of_documents((0..13).collect::<Vec<u32>>(), vec![0, 3, 8, 9]).unwrap()
    }

    #[test]
    fn blocks_know_where_documents_begin() {
        let batch = stream().gather(&[0, 1, 2], 4, true).unwrap();
        assert_eq!(batch.starts.unwrap(), [vec![0, 3], vec![], vec![0, 1]]);
        assert_eq!(stream().gather(&[0], 4, false).unwrap().starts, None);
    }

    #[test]
    fn documents_of_blocks_are_told_by_number() {
        assert_eq!(stream().told_documents(&[0], 4), "0, 1");
        assert_eq!(stream().told_documents(&[2, 1], 4), "1, 2, 3");
        let many = TokenStream::of_documents(vec![0; 100], (0..100).collect::<Vec<_>>()).unwrap();
        assert!(many.told_documents(&[0], 50).ends_with("19, and 31 more"));
    }

    #[test]
    fn starts_must_ascend_within_the_tokens() {
        for starts in [vec![], vec![1], vec![0, 2, 2], vec![0, 5]] {
            assert!(TokenStream::of_documents(vec![0; 5], starts).is_err());
        }
    }
}
