//! Next-token cross entropy, chunk by chunk of the logits.

use tch::{Kind, Reduction, Tensor};

use crate::train::error::{Result, TrainError};

// T tokens, D hidden, V vocabulary.

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
pub(in crate::train) fn added(sum: Option<Tensor>, gradient: Tensor) -> Result<Tensor> {
    match sum {
        None => Ok(gradient),
        Some(mut sum) => Ok(sum.f_add_(&gradient)?),
    }
}

/// First row and number of rows of each chunk of `hidden [T, D]`.
pub(super) fn chunks(hidden: &Tensor, head: &Tensor) -> Result<Vec<(i64, i64)>> {
    let (tokens, rows) = (hidden.size2()?.0, (CHUNK / head.size2()?.0).max(1));
    Ok((0..tokens).step_by(rows as usize).map(|start| (start, rows.min(tokens - start))).collect())
}

/// Summed cross entropy of `targets [T]` over `hidden [T, D]`.
pub(super) fn summed(hidden: &Tensor, head: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let logits = hidden.f_linear(head, None::<&Tensor>)?.f_to_kind(Kind::Float)?;
    Ok(logits.f_cross_entropy_loss(targets, None::<&Tensor>, Reduction::Sum, -100, 0.0)?)
}
