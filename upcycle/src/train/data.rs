//! Token streams and the batches cut from them: what is read at a step is a function of the seed and the step alone.
//!
//! A stream of `n` tokens is cut into `(n - 1) / S` blocks of `S + 1`, each beginning with the last token of the one before, so that
//! every token but the first is predicted once per epoch (the remainder, shorter than `S`, is left out). Documents follow one another
//! with whatever separator the caller put between them; attention is not cut at their borders.

use std::sync::Arc;

use coppice_models::init::stream;
use rand::seq::SliceRandom;
use tch::{Device, Kind, Tensor};

use super::error::{Result, TrainError};
use super::recipe::{Order, TrainConfig};

/// Token ids of many documents in one row; clones share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenStream(Arc<[u32]>);

impl TokenStream {
    /// A stream of these ids.
    pub fn new(ids: impl Into<Arc<[u32]>>) -> Self {
        Self(ids.into())
    }

    /// The ids.
    pub fn ids(&self) -> &[u32] {
        &self.0
    }

    /// Hash of the ids, by which a resumed run knows its data again.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for chunk in self.0.chunks(1 << 14) {
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
        match self.0.iter().position(|&id| i64::from(id) >= size) {
            Some(at) => Err(TrainError::Tokens(format!("id {} at position {at} is outside the vocabulary of {size}", self.0[at]))),
            None => Ok(()),
        }
    }

    /// How many whole blocks of `length` predicted tokens there are.
    pub fn blocks(&self, length: usize) -> usize {
        self.0.len().saturating_sub(1) / length
    }

    /// The blocks of the given indices, `[indices.len(), length + 1]` (i64).
    pub(super) fn gather(&self, indices: &[usize], length: usize, device: Device) -> Result<Tensor> {
        let rows = indices.iter().flat_map(|&block| &self.0[block * length..][..length + 1]);
        let ids: Vec<i64> = rows.map(|&id| i64::from(id)).collect();
        Ok(Tensor::f_from_slice(&ids)?.f_view([indices.len() as i64, -1])?.f_to_device(device)?)
    }
}

/// Cuts the batches of a run.
#[derive(Debug)]
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

    /// The micro-batches of step `step` (counted from 1), `[b, S + 1]` (i64) each.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn step(&mut self, step: u64, device: Device) -> Result<Vec<Tensor>> {
        let size = self.config.batch_size as u64;
        let blocks: Vec<usize> = ((step - 1) * size..step * size).map(|position| self.block(position)).collect();
        blocks.chunks(self.config.micro_batch()).map(|part| self.stream.gather(part, self.config.sequence_length, device)).collect()
    }
}

/// The order of `count` blocks in one epoch: a Fisher-Yates shuffle by ChaCha8 on a stream of its own.
fn permutation(seed: u64, epoch: u64, count: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count).collect();
    order.shuffle(&mut stream(seed, &format!("epoch {epoch}")));
    order
}

/// Inputs and targets `[b, S]` of a block tensor `[b, S + 1]`: the targets stand one to the right.
pub(super) fn shifted(block: &Tensor) -> Result<(Tensor, Tensor)> {
    let length = block.size2()?.1 - 1;
    Ok((block.f_narrow(1, 0, length)?.f_contiguous()?, block.f_narrow(1, 1, length)?.f_to_kind(Kind::Int64)?.f_contiguous()?))
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
        let parts = batches.step(4, Device::Cpu).unwrap();
        let rows: Vec<Vec<i64>> = parts.iter().flat_map(|part| Vec::<Vec<i64>>::try_from(part).unwrap()).collect();
        assert_eq!(parts.iter().map(|part| part.size()).collect::<Vec<_>>(), [[2, 5], [1, 5]]);
        assert_eq!(rows, [[36, 37, 38, 39, 40], [0, 1, 2, 3, 4], [4, 5, 6, 7, 8]]);
        let (inputs, targets) = shifted(&parts[1]).unwrap();
        assert_eq!(Vec::<Vec<i64>>::try_from(inputs).unwrap(), [[4, 5, 6, 7]]);
        assert_eq!(Vec::<Vec<i64>>::try_from(targets).unwrap(), [[5, 6, 7, 8]]);
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
