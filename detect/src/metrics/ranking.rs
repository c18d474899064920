//! Items in order of score, with tied items as one block; sorted once, then counted for every resample.

use super::MetricError;

/// Items of one score.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Block {
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

/// Where every item stands among the blocks of equal score. Sorting takes O(n log n) once, the blocks of a resample O(n) each.
#[derive(Debug, Clone)]
pub(crate) struct Ranking<'a> {
    wrong: &'a [bool],
    block_of: Vec<usize>,
    n_blocks: usize,
}

impl<'a> Ranking<'a> {
    /// Ranks items; the lists are of equal length and the scores finite.
    pub(crate) fn new(scores: &[f64], wrong: &'a [bool]) -> Self {
        // Adding 0 makes -0 equal to 0.
        let compare = |&a: &usize, &b: &usize| (scores[a] + 0.0).total_cmp(&(scores[b] + 0.0));
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(compare);
        let (mut block_of, mut n_blocks) = (vec![0; scores.len()], 0);
        for block in order.chunk_by(|a, b| compare(a, b).is_eq()) {
            block.iter().for_each(|&item| block_of[item] = n_blocks);
            n_blocks += 1;
        }
        Self { wrong, block_of, n_blocks }
    }

    /// The blocks, least suspect first, of the items drawn; an item drawn twice counts twice.
    pub(crate) fn blocks(&self, drawn: impl IntoIterator<Item = usize>) -> Vec<Block> {
        let mut blocks = vec![Block::default(); self.n_blocks];
        for item in drawn {
            let block = &mut blocks[self.block_of[item]];
            block.items += 1;
            block.wrong += usize::from(self.wrong[item]);
        }
        blocks.retain(|block| block.items > 0);
        blocks
    }
}

/// Blocks of equal score, least suspect first.
pub(super) fn ascending(scores: &[f64], wrong: &[bool]) -> Vec<Block> {
    Ranking::new(scores, wrong).blocks(0..scores.len())
}

/// How many items are right and how many wrong, neither being none.
pub(super) fn classes(blocks: &[Block]) -> Result<(usize, usize), MetricError> {
    let (items, wrong) = blocks.iter().fold((0, 0), |sum, block| (sum.0 + block.items, sum.1 + block.wrong));
    match (items - wrong, wrong) {
        (0, 0) => Err(MetricError::Empty),
        (_, 0) => Err(MetricError::SingleClass { items, class: "right" }),
        (0, _) => Err(MetricError::SingleClass { items, class: "wrong" }),
        both => Ok(both),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{auroc, auroc_of, average_precision, average_precision_of, prr, prr_of};
    use proptest::prelude::*;

    #[test]
    fn tied_items_are_one_block_and_those_not_drawn_none() {
        let ranking = Ranking::new(&[2.0, 0.0, -0.0, 1.0], &[true, true, false, false]);
        let blocks = |drawn: &[usize]| ranking.blocks(drawn.iter().copied()).iter().map(|b| (b.items, b.wrong)).collect::<Vec<_>>();
        assert_eq!(blocks(&[0, 1, 2, 3]), [(2, 1), (1, 0), (1, 1)]);
        assert_eq!(blocks(&[0, 2, 0]), [(1, 0), (2, 2)]);
    }

    proptest! {
        /// The metrics of a resample counted by multiplicity are those of the resampled lists, bit for bit.
        #[test]
        fn counting_equals_sorting_the_resample(
            items in prop::collection::vec((0i8..6, any::<bool>()), 1..40),
            draws in prop::collection::vec(any::<prop::sample::Index>(), 40),
        ) {
            let (scores, wrong): (Vec<f64>, Vec<bool>) = items.iter().map(|&(score, wrong)| (f64::from(score), wrong)).unzip();
            let drawn: Vec<usize> = draws.iter().take(items.len()).map(|draw| draw.index(items.len())).collect();
            let blocks = Ranking::new(&scores, &wrong).blocks(drawn.iter().copied());
            let (scores, wrong): (Vec<f64>, Vec<bool>) = drawn.iter().map(|&item| (scores[item], wrong[item])).unzip();
            prop_assert_eq!(auroc_of(&blocks), auroc(&scores, &wrong));
            prop_assert_eq!(average_precision_of(&blocks), average_precision(&scores, &wrong));
            prop_assert_eq!(prr_of(&blocks, 0.5), prr(&scores, &wrong, 0.5));
        }
    }
}
