//! Cross entropy on held-out tokens: dropless, without jitter.

use coppice_models::Model;
use coppice_models::model::Memory;
use tch::{Device, no_grad_guard};

use super::cross_entropy::{chunks, summed};
use crate::train::data::{Batch, TokenStream};
use crate::train::error::{Result, TrainError};

/// Cross entropy on held-out tokens.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evaluation {
    /// Mean cross entropy per token, nats.
    pub loss: f64,
    /// `exp(loss)`.
    pub perplexity: f64,
    /// Predicted tokens.
    pub tokens: u64,
}

/// How held-out tokens are cut into sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Predicted tokens per sequence. A stream shorter than that is one sequence; a shorter remainder is left out.
    pub sequence_length: usize,
    /// Sequences per forward pass.
    pub batch: usize,
    /// Predicted tokens in all, rounded up to whole sequences; 0 = all there are.
    pub max_tokens: usize,
    /// Whether attention and positions begin anew at every document.
    pub reset_at_documents: bool,
}

/// Mean cross entropy of `stream` cut as `cut` says.
///
/// # Errors
/// When there are fewer than two tokens, an id is outside the vocabulary, or the sequences are longer than the context.
pub fn evaluate_loss(model: &Model, stream: &TokenStream, cut: Cut) -> Result<Evaluation> {
    let _guard = no_grad_guard();
    stream.check(model.config.vocab_size)?;
    let length = cut.sequence_length.min(stream.ids().len().saturating_sub(1));
    if length == 0 {
        return Err(TrainError::Tokens(format!("{} tokens are too few to evaluate on, expected at least 2", stream.ids().len())));
    }
    let wanted = if cut.max_tokens == 0 { usize::MAX } else { cut.max_tokens.div_ceil(length) };
    let blocks: Vec<usize> = (0..stream.blocks(length).min(wanted)).collect();
    let parts = blocks.chunks(cut.batch.max(1));
    let sums = parts.map(|part| summed_loss(model, stream.gather(part, length, cut.reset_at_documents)?.on(model.device())?));
    let loss = sums.sum::<Result<f64>>()? / (blocks.len() * length) as f64;
    Ok(Evaluation { loss, perplexity: loss.exp(), tokens: (blocks.len() * length) as u64 })
}

/// Summed loss of a batch.
fn summed_loss(model: &Model, batch: Batch) -> Result<f64> {
    let (inputs, targets) = batch.shifted()?;
    let length = inputs.size2()?.1;
    let mut pass = match &batch.starts {
        Some(starts) => model.packed_pass(length, starts)?,
        None => model.pass(length, Memory::None)?,
    };
    let hidden = model.hidden(&inputs, &mut pass)?.f_flatten(0, 1)?;
    let targets = targets.f_flatten(0, 1)?;
    let parts = chunks(&hidden, &model.lm_head)?.into_iter().map(|(start, rows)| {
        let sum = summed(&hidden.f_narrow(0, start, rows)?, &model.lm_head, &targets.f_narrow(0, start, rows)?)?;
        Ok(sum.f_to_device(Device::Cpu)?.f_double_value(&[])?)
    });
    parts.sum()
}
