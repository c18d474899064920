//! Batches of a run: what is read at a step is a function of the seed and the step alone.
//!
//! A stream of `n` tokens is cut into `(n - 1) / S` blocks of `S + 1`, each beginning with the last token of the one before, so that
//! every token but the first is predicted once per epoch (the remainder, shorter than `S`, is left out). Documents are packed: they
//! follow one another, each with its end-of-text token, and go on in the next block where one is full.

mod prefetch;
mod stream;

use std::ops::Range;

use coppice_models::init;
use rand::seq::SliceRandom;
use tch::{Device, Kind, Tensor};

pub(super) use self::prefetch::Prefetch;
pub use self::stream::TokenStream;
use super::error::{Result, TrainError};
use super::recipe::{Order, TrainConfig};

/// Sequences of one forward pass.
#[derive(Debug)]
pub struct Batch {
    /// Inputs and, one to the right, targets: `[b, S + 1]`, i64.
    pub ids: Tensor,
    /// Where documents begin in each sequence, ascending; none where every sequence is read as one.
    pub starts: Option<Vec<Vec<i64>>>,
}

impl Batch {
    /// The batch on another device.
    pub(super) fn on(self, device: Device) -> Result<Self> {
        Ok(Self { ids: self.ids.f_to_device(device)?, ..self })
    }

    /// Inputs and targets `[b, S]`: the targets stand one to the right.
    pub(super) fn shifted(&self) -> Result<(Tensor, Tensor)> {
        let length = self.ids.size2()?.1 - 1;
        let part = |from| self.ids.f_narrow(1, from, length)?.f_to_kind(Kind::Int64)?.f_contiguous();
        Ok((part(0)?, part(1)?))
    }

    /// Predicted tokens.
    pub(super) fn tokens(&self) -> i64 {
        self.ids.size2().map_or(0, |(rows, width)| rows * (width - 1))
    }
}

/// Cuts the batches of a run.
#[derive(Debug, Clone)]
pub struct Batches {
    stream: TokenStream,
    config: TrainConfig,
    order: Vec<u32>,    // permutation of the blocks in `epoch`
    epoch: Option<u64>, // which epoch `order` belongs to
}

impl Batches {
    /// Batches of `stream` as the recipe wants them.
    ///
    /// # Errors
    /// When there is not one whole block, or more than 2^32.
    pub fn new(stream: TokenStream, config: &TrainConfig) -> Result<Self> {
        let (blocks, length) = (stream.blocks(config.sequence_length), config.sequence_length);
        if blocks == 0 || u32::try_from(blocks).is_err() {
            let found = stream.ids().len();
            return Err(TrainError::Tokens(format!("{found} tokens make {blocks} sequences of {length} and one more, expected 1 to 2^32")));
        }
        Ok(Self { stream, config: config.clone(), order: Vec::new(), epoch: None })
    }

    /// Which block is the `position`-th to be read, counted from the start of the run.
    pub fn block(&mut self, position: u64) -> usize {
        let blocks = self.stream.blocks(self.config.sequence_length) as u64;
        let (epoch, slot) = (position / blocks, (position % blocks) as usize);
        if self.config.order == Order::Sequential {
            return slot;
        }
        if self.epoch != Some(epoch) {
            (self.order, self.epoch) = (permutation(self.config.seed, epoch, blocks as u32), Some(epoch));
        }
        self.order[slot] as usize
    }

    /// The blocks that step `step` (counted from 1) reads; of those, the ones of a share of its sequences.
    fn blocks(&mut self, step: u64, share: &Range<usize>) -> Vec<usize> {
        let first = (step - 1) * self.config.batch() as u64;
        share.clone().map(|slot| self.block(first + slot as u64)).collect()
    }

    /// The micro-batches of step `step` (counted from 1), made of the sequences of `share` alone (`0..batch` for all of them).
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn step(&mut self, step: u64, share: &Range<usize>) -> Result<Vec<Batch>> {
        let (length, reset) = (self.config.sequence_length, self.config.reset_at_documents);
        let blocks = self.blocks(step, share);
        blocks.chunks(self.config.micro_batch()).map(|part| self.stream.gather(part, length, reset)).collect()
    }

    /// The documents that step `step` reads, for messages.
    pub(super) fn documents(&mut self, step: u64) -> String {
        let blocks = self.blocks(step, &(0..self.config.batch()));
        self.stream.told_documents(&blocks, self.config.sequence_length)
    }
}

/// The order of `count` blocks in one epoch: a Fisher-Yates shuffle by ChaCha8 on a stream of its own.
fn permutation(seed: u64, epoch: u64, count: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count).collect();
    order.shuffle(&mut init::stream(seed, &format!("epoch {epoch}")));
    order
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn batches(order: Order) -> Batches {
        let text = format!(
            "steps = 9\nsequence_length = 4\nbatch_size = 3\nmicro_batch_size = 2\nseed = 5\norder = \"{}\"\n[schedule]\npeak = 0.1\n",
            if order == Order::Shuffled { "shuffled" } else { "sequential" }
        );
        let config: TrainConfig = toml::from_str(&text).unwrap();
        Batches::new(TokenStream::new((0..42).collect::<Vec<u32>>()), &config).unwrap()
    }

    #[test]
    fn sequential_blocks_overlap_by_one_token_and_wrap() {
        let mut batches = batches(Order::Sequential);
        let parts = batches.step(4, &(0..3)).unwrap();
        let rows: Vec<Vec<i64>> = parts.iter().flat_map(|part| Vec::<Vec<i64>>::try_from(&part.ids).unwrap()).collect();
        assert_eq!(parts.iter().map(|part| part.ids.size()).collect::<Vec<_>>(), [[2, 5], [1, 5]]);
        assert_eq!(rows, [[36, 37, 38, 39, 40], [0, 1, 2, 3, 4], [4, 5, 6, 7, 8]]);
        let (inputs, targets) = parts[1].shifted().unwrap();
        assert_eq!(Vec::<Vec<i64>>::try_from(inputs).unwrap(), [[4, 5, 6, 7]]);
        assert_eq!(Vec::<Vec<i64>>::try_from(targets).unwrap(), [[5, 6, 7, 8]]);
    }

    #[test]
    fn shares_of_a_step_are_its_sequences_in_order() {
        let mut batches = batches(Order::Shuffled);
        let mut rows = |share: Range<usize>| {
            let parts = batches.step(2, &share).unwrap();
            parts.iter().flat_map(|part| Vec::<Vec<i64>>::try_from(&part.ids).unwrap()).collect::<Vec<_>>()
        };
        let (first, rest, whole) = (rows(0..1), rows(1..3), rows(0..3));
        assert_eq!([first, rest].concat(), whole);
    }

    #[test]
    fn a_thread_gives_the_same_batches() {
        let mut batches = batches(Order::Shuffled);
        let ahead = Prefetch::start(batches.clone(), 3..6, 0..3).unwrap();
        for step in 3..6 {
            let (found, expected) = (ahead.next().unwrap(), batches.step(step, &(0..3)).unwrap());
            assert!(found.iter().zip(&expected).all(|(found, expected)| found.ids == expected.ids));
        }
        assert!(ahead.next().is_err());
    }

    #[test]
    fn every_epoch_reads_every_block_once_in_an_order_of_its_own() {
        let mut batches = batches(Order::Shuffled);
        let mut epoch = |e: u64| (e * 10..e * 10 + 10).map(|position| batches.block(position)).collect::<Vec<_>>();
        let (first, second, again) = (epoch(0), epoch(1), epoch(0));
        assert_eq!(first.iter().copied().collect::<BTreeSet<_>>(), (0..10).collect());
        assert_eq!(second.iter().copied().collect::<BTreeSet<_>>(), (0..10).collect());
        assert_ne!(first, second);
        assert_eq!(first, again);
    }

    #[test]
    fn refuses_foreign_ids_and_short_streams() {
        let stream = TokenStream::new(vec![1, 7, 2]);
        assert!(stream.check(8).is_ok());
        assert!(stream.check(7).unwrap_err().to_string().contains("id 7 at position 1"));
        let config = batches(Order::Shuffled).config;
        assert!(Batches::new(TokenStream::new(vec![1, 2, 3, 4]), &config).is_err());
    }
}
