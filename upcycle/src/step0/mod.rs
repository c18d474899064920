//! The step-0 report: what a conversion preserved, measured on the written checkpoint before any training.
//!
//! Both models run side by side in f32, layer by layer and expert by expert, so that memory holds one MLP at a time whatever the
//! size of the checkpoints.

mod head;
mod layer;
mod notes;
pub mod report;

use std::sync::atomic::{AtomicBool, Ordering};

use coppice_models::init::{stream, unit};
use coppice_models::score::check_tokens;
use coppice_models::{Checkpoint, Config};

pub use self::report::{LayerReport, LogitsReport, RouterReport, Step0};
use crate::convert::options::require;
use crate::convert::{ConvertError, Result};
use crate::layerwise::Layerwise;

/// Tokens compared when the caller has no wish.
pub const DEFAULT_TOKENS: usize = 256;
/// Longest sequence of random ids.
const RANDOM_LENGTH: usize = 128;

/// The tokens both models are run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Tokenised text, one or many sequences.
    Text(Vec<Vec<i64>>),
    /// So many ids drawn uniformly from the vocabulary: where there is no text or no tokenizer.
    Random {
        /// How many.
        tokens: usize,
        /// Seed of the draws.
        seed: u64,
    },
}

impl Probe {
    /// The sequences of ids for a model of this configuration.
    ///
    /// # Errors
    /// When no sequence has two tokens, an id is outside the vocabulary, or a sequence exceeds the context.
    pub fn sequences(&self, config: &Config) -> Result<Vec<Vec<i64>>> {
        let sequences = match self {
            Self::Text(sequences) => sequences.clone(),
            Self::Random { tokens, seed } => random(*tokens, *seed, config),
        };
        sequences.iter().try_for_each(|tokens| check_tokens(config, tokens))?;
        require(sequences.iter().any(|tokens| tokens.len() > 1), || "the step-0 report needs a sequence of at least 2 tokens".into())?;
        Ok(sequences)
    }

    /// What was run, in words.
    fn describe(&self, sequences: &[Vec<i64>]) -> String {
        let (tokens, count) = (sequences.iter().map(Vec::len).sum::<usize>(), sequences.len());
        let plural = if count == 1 { "sequence" } else { "sequences" };
        match self {
            Self::Text(_) => format!("{tokens} tokens of text in {count} {plural}"),
            Self::Random { seed, .. } => format!("{tokens} random ids in {count} {plural} (no text; seed {seed})"),
        }
    }
}

fn random(tokens: usize, seed: u64, config: &Config) -> Vec<Vec<i64>> {
    let mut rng = stream(seed, "step0");
    let vocabulary = config.vocab_size as f64;
    let ids: Vec<i64> = (0..tokens).map(|_| ((1.0 - unit(&mut rng)) * vocabulary) as i64).collect();
    let longest = RANDOM_LENGTH.min(config.max_position_embeddings as usize);
    ids.chunks(longest).map(<[i64]>::to_vec).collect()
}

/// Runs the dense source and the upcycled result on the same tokens and measures how far they are apart.
///
/// `progress` is told the layers done and their number. Everything is computed in f32 on the CPU.
///
/// # Errors
/// When the two are not source and result, the tokens cannot be used, a model computes NaN or infinity, or `interrupted` is raised.
pub fn compare(
    dense: &Checkpoint,
    upcycled: &Checkpoint,
    probe: &Probe,
    progress: &mut dyn FnMut(usize, usize),
    interrupted: &AtomicBool,
) -> Result<Step0> {
    let _guard = tch::no_grad_guard();
    same_trunk(&dense.config, &upcycled.config)?;
    let sequences = probe.sequences(&dense.config)?;
    let (mut from, mut to) = (Layerwise::new(dense, &sequences)?, Layerwise::new(upcycled, &sequences)?);
    let count = dense.config.num_hidden_layers;
    let mut layers = Vec::with_capacity(count);
    for index in 0..count {
        if interrupted.load(Ordering::Relaxed) {
            return Err(ConvertError::Interrupted);
        }
        layers.push(layer::compare(&mut from, &mut to, index)?);
        progress(index + 1, count);
    }
    let logits = head::compare(&from, &to, &sequences)?;
    Ok(Step0::new(probe.describe(&sequences), &sequences, logits, layers, [dense, upcycled]))
}

/// Refuses two checkpoints of which one cannot have come from the other.
fn same_trunk(dense: &Config, upcycled: &Config) -> Result<()> {
    require(dense.moe.is_none(), || "the step-0 report compares with a dense source, and this source is routed".into())?;
    let trunk = Config { moe: None, ..upcycled.clone() };
    require(trunk == *dense, || "the two checkpoints differ in more than their experts, one did not come from the other".into())
}
