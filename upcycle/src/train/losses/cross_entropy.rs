//! Next-token cross entropy, chunk by chunk of the logits.

use coppice_models::ext::fused::cross_entropy_;
use tch::{Kind, Reduction, Tensor, no_grad_guard};

use crate::train::error::Result;

// T tokens, C tokens of a chunk, D hidden, V vocabulary.

/// Logits kept at a time, in elements (100 MiB in f32).
const CHUNK: i64 = 25 << 20;
/// Rows that the CPU's bf16 products take together.
const TILE: i64 = 32;

/// What the head gives back for a batch.
#[derive(Debug)]
pub struct Head {
    /// Summed cross entropy, nats, f32.
    pub loss: Tensor,
    /// Gradient at the hidden states, `[T, D]`.
    pub pull: Tensor,
}

/// Cross entropy of `targets [T]` under the head `[V, D]` over `hidden [T, D]`, and the gradients of `scale` times it: the one at the head
/// is added to `gradient [V, D]`. Chunk by chunk, so that no more than a chunk's logits exist at a time; they are normalised in f32.
///
/// # Errors
/// When the shapes do not match.
pub fn cross_entropy_gradients(hidden: &Tensor, head: &Tensor, targets: &Tensor, scale: f64, gradient: &mut Tensor) -> Result<Head> {
    let _guard = no_grad_guard();
    let mut loss = Tensor::f_zeros([], (Kind::Float, hidden.device()))?;
    let pull = hidden.f_empty_like()?;
    for (start, rows) in chunks(hidden, head)? {
        let part = hidden.f_narrow(0, start, rows)?;
        let mut at_logits = part.f_linear(head, None::<&Tensor>)?; // [C, V]
        let _ = loss.f_add_(&cross_entropy_(&mut at_logits, &targets.f_narrow(0, start, rows)?, scale)?.f_sum(Kind::Float)?)?;
        pull.f_narrow(0, start, rows)?.f_copy_(&at_logits.f_matmul(head)?)?;
        add_product(gradient, &at_logits, &part)?;
    }
    Ok(Head { loss, pull })
}

/// Adds `aᵀ b` to `sum`, `a [C, V]`, `b [C, D]`.
fn add_product(sum: &mut Tensor, a: &Tensor, b: &Tensor) -> Result<()> {
    let a = a.f_transpose(0, 1)?;
    let _ = if sum.kind() == a.kind() { sum.f_addmm_(&a, b)? } else { sum.f_add_(&a.f_matmul(b)?)? };
    Ok(())
}

/// Tokens of one chunk over a vocabulary of `vocabulary`: whole tiles of the matrix products, which lose up to a third of their speed else.
pub(in crate::train) fn chunk_rows(vocabulary: i64) -> i64 {
    let rows = (CHUNK / vocabulary).max(1);
    if rows > TILE { rows - rows % TILE } else { rows }
}

/// First row and number of rows of each chunk of `hidden [T, D]`.
pub(super) fn chunks(hidden: &Tensor, head: &Tensor) -> Result<Vec<(i64, i64)>> {
    let (tokens, rows) = (hidden.size2()?.0, chunk_rows(head.size2()?.0));
    Ok((0..tokens).step_by(rows as usize).map(|start| (start, rows.min(tokens - start))).collect())
}

/// Summed cross entropy of `targets [T]` over `hidden [T, D]`.
pub(super) fn summed(hidden: &Tensor, head: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let logits = hidden.f_linear(head, None::<&Tensor>)?.f_to_kind(Kind::Float)?;
    Ok(logits.f_cross_entropy_loss(targets, None::<&Tensor>, Reduction::Sum, -100, 0.0)?)
}
