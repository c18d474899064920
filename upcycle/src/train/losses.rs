//! Losses: next-token cross entropy in chunks, load balance, router z-loss; and the cross entropy alone, for held-out tokens.

use coppice_models::Model;
use coppice_models::model::Memory;
use coppice_models::moe::Routing;
use tch::{Device, Kind, Reduction, Tensor, no_grad_guard};

use super::data::{TokenStream, shifted};
use super::error::{Result, TrainError};

// T tokens, D hidden, N experts, K chosen experts, V vocabulary.

/// Logits kept at a time, in elements (8 MiB in f32): the chunk stays in the cache, and a vocabulary of 100,000 in memory.
const CHUNK: i64 = 1 << 21;

/// What the head gives back for a batch.
#[derive(Debug)]
pub struct HeadGradients {
    /// Summed cross entropy, nats.
    pub loss: Tensor,
    /// Gradient at the hidden states, `[T, D]`.
    pub hidden: Tensor,
    /// Gradient at the head, `[V, D]`.
    pub head: Tensor,
}

/// Cross entropy of `targets [T]` under the head `[V, D]` over `hidden [T, D]`, and the gradients of `scale` times it: chunk by chunk,
/// so that no more than a chunk's logits exist at a time.
///
/// # Errors
/// When the shapes do not match.
pub fn cross_entropy_gradients(hidden: &Tensor, head: &Tensor, targets: &Tensor, scale: f64) -> Result<HeadGradients> {
    let hidden = hidden.f_detach()?;
    let mut loss = Tensor::f_zeros([], (Kind::Float, hidden.device()))?;
    let (mut at_hidden, mut at_head) = (Vec::new(), None);
    for (start, rows) in chunks(&hidden, head)? {
        let mut part = hidden.f_narrow(0, start, rows)?.f_detach()?;
        let _ = part.f_requires_grad_(true)?;
        let sum = summed(&part, head, &targets.f_narrow(0, start, rows)?)?;
        let gradients = Tensor::f_run_backward(&[sum.f_mul_scalar(scale)?], &[&part, head], false, false)?;
        let [hidden, head] = <[Tensor; 2]>::try_from(gradients).map_err(|_| TrainError::NoGradient("lm_head.weight".into()))?;
        let _ = loss.f_add_(&sum.f_detach()?)?;
        at_hidden.push(hidden);
        at_head = Some(added(at_head, head)?);
    }
    let head = at_head.ok_or_else(|| TrainError::Tokens("an empty batch".into()))?;
    Ok(HeadGradients { loss, hidden: Tensor::f_cat(&at_hidden, 0)?, head })
}

/// Adds `gradient` to what was accumulated, in place.
pub(super) fn added(sum: Option<Tensor>, gradient: Tensor) -> Result<Tensor> {
    match sum {
        None => Ok(gradient),
        Some(mut sum) => Ok(sum.f_add_(&gradient)?),
    }
}

/// First row and number of rows of each chunk of `hidden [T, D]`.
fn chunks(hidden: &Tensor, head: &Tensor) -> Result<Vec<(i64, i64)>> {
    let (tokens, rows) = (hidden.size2()?.0, (CHUNK / head.size2()?.0).max(1));
    Ok((0..tokens).step_by(rows as usize).map(|start| (start, rows.min(tokens - start))).collect())
}

fn summed(hidden: &Tensor, head: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let logits = hidden.f_linear(head, None::<&Tensor>)?.f_to_kind(Kind::Float)?;
    Ok(logits.f_cross_entropy_loss(targets, None::<&Tensor>, Reduction::Sum, -100, 0.0)?)
}

/// Load-balance loss of one layer, `N * sum_i f_i P_i`: `f_i` the share of the `T*K` assignments that expert `i` got, `P_i` its mean
/// probability. 1 when all are equal, `N` at worst. Switch Transformer (arXiv 2101.03961, eq. 4 to 6) in the normalisation of
/// Megatron-Core; coefficients do not carry over to normalisations whose minimum is `K`. Over the tokens of one micro-batch.
///
/// # Errors
/// When libtorch fails.
pub fn balance(routing: &Routing) -> Result<Tensor> {
    let counts = routing.counts.f_to_kind(Kind::Float)?;
    let share = counts.f_div(&counts.f_sum(Kind::Float)?)?; // [N]
    let probability = routing.logits.f_softmax(-1, Kind::Float)?.f_mean_dim([0].as_slice(), false, Kind::Float)?; // [N]
    let experts = share.size1()?;
    Ok(share.f_dot(&probability)?.f_mul_scalar(experts as f64)?)
}

/// Router z-loss of one layer, the mean of `logsumexp(logits)^2` (ST-MoE, arXiv 2202.08906, eq. 5).
///
/// # Errors
/// When libtorch fails.
pub fn router_z(routing: &Routing) -> Result<Tensor> {
    Ok(routing.logits.f_logsumexp([-1].as_slice(), false)?.f_square()?.f_mean(Kind::Float)?)
}

/// The mean of a loss over the routed layers.
pub(super) fn over_layers(routings: &[Routing], loss: impl Fn(&Routing) -> Result<Tensor>) -> Result<Tensor> {
    let losses = routings.iter().map(loss).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::f_stack(&losses, 0)?.f_mean(Kind::Float)?)
}

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

/// Mean cross entropy of `stream` cut into sequences of `sequence_length` predicted tokens (a stream shorter than that is one
/// sequence; a shorter remainder is left out), `batch` at a time; at most `max_tokens` tokens, rounded up to whole sequences, 0 = all.
///
/// # Errors
/// When there are fewer than two tokens, an id is outside the vocabulary, or the sequences are longer than the context.
pub fn evaluate_loss(model: &Model, stream: &TokenStream, sequence_length: usize, batch: usize, max_tokens: usize) -> Result<Evaluation> {
    let _guard = no_grad_guard();
    stream.check(model.config.vocab_size)?;
    let length = sequence_length.min(stream.ids().len().saturating_sub(1));
    if length == 0 {
        return Err(TrainError::Tokens(format!("{} tokens are too few to evaluate on, expected at least 2", stream.ids().len())));
    }
    let wanted = if max_tokens == 0 { usize::MAX } else { max_tokens.div_ceil(length) };
    let blocks: Vec<usize> = (0..stream.blocks(length).min(wanted)).collect();
    let sums = blocks.chunks(batch.max(1)).map(|part| summed_loss(model, &stream.gather(part, length, model.device())?));
    let loss = sums.sum::<Result<f64>>()? / (blocks.len() * length) as f64;
    Ok(Evaluation { loss, perplexity: loss.exp(), tokens: (blocks.len() * length) as u64 })
}

/// Summed cross entropy of whole blocks `[b, S + 1]`.
fn summed_loss(model: &Model, block: &Tensor) -> Result<f64> {
    let (inputs, targets) = shifted(block)?;
    let mut pass = model.pass(inputs.size2()?.1, Memory::None)?;
    let hidden = model.hidden(&inputs, &mut pass)?.f_flatten(0, 1)?;
    let targets = targets.f_flatten(0, 1)?;
    let parts = chunks(&hidden, &model.lm_head)?.into_iter().map(|(start, rows)| {
        let sum = summed(&hidden.f_narrow(0, start, rows)?, &model.lm_head, &targets.f_narrow(0, start, rows)?)?;
        Ok(sum.f_to_device(Device::Cpu)?.f_double_value(&[])?)
    });
    parts.sum()
}
