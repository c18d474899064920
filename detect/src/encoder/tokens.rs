//! Texts and pairs of texts to batches of token ids: cut to what the model takes, and texts of like length side by side.

use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{Device, Result as CandleResult, Tensor};
use tokenizers::{EncodeInput, Encoding, Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy};

use super::EncoderError;
use super::config::Config;
use super::folder::{Folder, first_line};
use crate::similarity::BackendError;

const FILE: &str = "tokenizer.json";
/// Room for the special tokens and a word of either text.
const MIN_LENGTH: usize = 8;
/// Texts of a batch, and tokens, padding included: enough to fill the cores, little enough for the attention of long texts to fit.
const BATCH_TEXTS: usize = 32;
const BATCH_TOKENS: usize = 4096;

/// The tokenizer of an encoder.
pub(super) struct Tokens {
    tokenizer: Tokenizer,
    pad: u32,
    typed: bool,
    cut: AtomicU64,
}

/// Texts of like length. Shapes `[B, S]`.
pub(super) struct Batch {
    /// Which of the inputs the rows are.
    pub(super) places: Vec<usize>,
    pub(super) ids: Tensor,
    /// 1 for the second text of a pair where the model tells them apart, else 0.
    pub(super) types: Tensor,
    /// 1 for tokens, 0 for padding.
    pub(super) mask: Tensor,
}

impl Tokens {
    /// Reads `tokenizer.json`; texts longer than `max_length` tokens, special ones included, are cut, the longer of a pair first.
    pub(super) fn open(folder: &Folder, config: &Config, max_length: usize) -> Result<Self, EncoderError> {
        if max_length < MIN_LENGTH {
            return Err(
                folder.broken("", format!("texts of {max_length} tokens are the longest its files allow; expected {MIN_LENGTH} or more"))
            );
        }
        let mut tokenizer = Tokenizer::from_bytes(folder.read(FILE)?).map_err(|error| folder.broken(FILE, error))?;
        tokenizer.with_padding(None);
        let (strategy, direction) = (TruncationStrategy::LongestFirst, TruncationDirection::Right);
        let cut = TruncationParams { max_length, strategy, stride: 0, direction };
        tokenizer.with_truncation(Some(cut)).map_err(|error| folder.broken(FILE, error))?;
        let nothing = tokenizer.encode("", true).map_err(|error| folder.broken(FILE, error))?;
        if nothing.is_empty() {
            return Err(folder.broken(FILE, "adds no special tokens, so that an empty text has none"));
        }
        Ok(Self { tokenizer, pad: config.pad, typed: config.typed, cut: AtomicU64::new(0) })
    }

    /// How many texts were cut so far.
    pub(super) fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// Batches of the inputs, shortest first.
    pub(super) fn batches<'a, I: Into<EncodeInput<'a>> + Send>(&self, inputs: Vec<I>) -> Result<Vec<Batch>, BackendError> {
        let encodings = self.tokenizer.encode_batch(inputs, true).map_err(failed)?;
        let cut = encodings.iter().filter(|encoding| !encoding.get_overflowing().is_empty()).count();
        self.cut.fetch_add(cut as u64, Ordering::Relaxed);
        let mut order: Vec<(usize, &Encoding)> = encodings.iter().enumerate().collect();
        order.sort_by_key(|(_, encoding)| encoding.len());
        groups(&order).into_iter().map(|group| self.batch(group).map_err(failed)).collect()
    }

    fn batch(&self, group: &[(usize, &Encoding)]) -> CandleResult<Batch> {
        let longest = group.last().map_or(0, |(_, encoding)| encoding.len());
        let rows = |of: &dyn Fn(&Encoding) -> Vec<u32>, pad: u32| -> CandleResult<Tensor> {
            let padded = |(_, encoding): &(usize, &Encoding)| {
                let mut row = of(encoding);
                row.resize(longest, pad);
                row
            };
            Tensor::from_vec(group.iter().flat_map(padded).collect(), (group.len(), longest), &Device::Cpu)
        };
        Ok(Batch {
            places: group.iter().map(|(place, _)| *place).collect(),
            ids: rows(&|encoding| encoding.get_ids().to_vec(), self.pad)?,
            types: rows(&|encoding| if self.typed { encoding.get_type_ids().to_vec() } else { vec![0; encoding.len()] }, 0)?,
            mask: rows(&|encoding| vec![1; encoding.len()], 0)?,
        })
    }
}

/// Runs of inputs sorted by length that fit a batch.
fn groups<'a, 'e>(mut sorted: &'a [(usize, &'e Encoding)]) -> Vec<&'a [(usize, &'e Encoding)]> {
    let mut groups = Vec::new();
    while !sorted.is_empty() {
        let fits =
            |(index, (_, encoding)): (usize, &(usize, &Encoding))| index < BATCH_TEXTS && (index + 1) * encoding.len() <= BATCH_TOKENS;
        let count = sorted.iter().enumerate().take_while(|&(index, row)| fits((index, row))).count().max(1);
        let (group, rest) = sorted.split_at(count);
        groups.push(group);
        sorted = rest;
    }
    groups
}

/// A failure of the tokenizer or the network.
pub(super) fn failed(why: impl ToString) -> BackendError {
    BackendError { backend: "encoder", reason: first_line(why) }
}
