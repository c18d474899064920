//! Items in order of score, with tied items as one block.

use std::cmp::Ordering;

/// Items of one score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    /// How many items.
    pub(super) items: usize,
    /// How many of them are wrong.
    pub(super) wrong: usize,
}

impl Block {
    /// How many are right.
    pub(super) fn right(self) -> usize {
        self.items - self.wrong
    }
}

/// Blocks of equal score, least suspect first.
pub(super) fn ascending(scores: &[f64], wrong: &[bool]) -> Vec<Block> {
    blocks(scores, wrong, f64::total_cmp)
}

/// Blocks of equal score, most suspect first.
pub(super) fn descending(scores: &[f64], wrong: &[bool]) -> Vec<Block> {
    blocks(scores, wrong, |a, b| b.total_cmp(a))
}

fn blocks(scores: &[f64], wrong: &[bool], order: impl Fn(&f64, &f64) -> Ordering) -> Vec<Block> {
    // Adding 0 makes -0 equal to 0.
    let mut items: Vec<(f64, bool)> = scores.iter().map(|score| score + 0.0).zip(wrong.iter().copied()).collect();
    items.sort_by(|a, b| order(&a.0, &b.0));
    items
        .chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq())
        .map(|block| Block { items: block.len(), wrong: block.iter().filter(|item| item.1).count() })
        .collect()
}
