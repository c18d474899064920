//! Runs a model over pieces of text and reads off what its routers did, a bounded number of tokens at a time.

use coppice_models::model::Memory;
use coppice_models::moe::Routing;
use coppice_models::{Error, Model};
use tch::{Device, Kind, Tensor};

use super::documents::Piece;
use crate::convert::Result;

// B pieces, S longest of them, T tokens that count (no padding), D hidden, N experts, V vocabulary.

/// Logits held at once, in elements (64 MiB of f32).
const LOGITS: i64 = 1 << 24;

/// Pieces run at once: of like length, and not more than `tokens` with padding. Where experts choose tokens, a piece runs alone, since
/// its neighbours would change what it gets.
pub(super) fn batches(pieces: &[Piece], tokens: usize, alone: bool) -> Vec<Vec<&Piece>> {
    let mut order: Vec<&Piece> = pieces.iter().collect();
    order.sort_by_key(|piece| std::cmp::Reverse(piece.tokens.len()));
    let mut batches = Vec::new();
    while !order.is_empty() {
        let size = if alone { 1 } else { (tokens / order[0].tokens.len()).clamp(1, order.len()) };
        batches.push(order.drain(..size).collect());
    }
    batches
}

/// A batch, padded on the right.
pub(super) struct Batch {
    /// `[B, S]`, i64.
    ids: Tensor,
    /// Places in `[B * S]` that are no padding, `[T]`, i64.
    places: Tensor,
    /// The ids there, `[T]`.
    pub(super) input: Vec<i64>,
    /// Their domains, `[T]`, i64, on the CPU; none where a piece has none.
    pub(super) domains: Option<Tensor>,
}

impl Batch {
    pub(super) fn new(pieces: &[&Piece], device: Device) -> Result<Self> {
        let longest = pieces.iter().map(|piece| piece.tokens.len()).max().unwrap_or(0);
        let (mut padded, mut places, mut domains) = (Vec::new(), Vec::new(), Vec::new());
        for (row, piece) in pieces.iter().enumerate() {
            let (start, length) = ((row * longest) as i64, piece.tokens.len());
            padded.extend_from_slice(&piece.tokens);
            padded.resize((row + 1) * longest, 0);
            places.extend(start..start + length as i64);
            domains.extend(piece.domain.map(|domain| vec![domain as i64; length]).unwrap_or_default());
        }
        Ok(Self {
            ids: Tensor::f_from_slice(&padded)?.f_view([pieces.len() as i64, longest as i64])?.f_to(device)?,
            places: Tensor::f_from_slice(&places)?.f_to(device)?,
            input: pieces.iter().flat_map(|piece| piece.tokens.iter().copied()).collect(),
            domains: if domains.len() == places.len() { Some(Tensor::f_from_slice(&domains)?) } else { None },
        })
    }

    /// Runs the model; returns its hidden states `[T, D]` after the final norm and what its routers did.
    pub(super) fn run(&self, model: &Model) -> Result<(Tensor, Vec<Observed>)> {
        let mut pass = model.pass(self.ids.size2()?.1, Memory::None)?;
        pass.routings = Some(Vec::new());
        let hidden = model.hidden(&self.ids, &mut pass)?.f_flatten(0, 1)?.f_index_select(0, &self.places)?;
        finite(&hidden, || "the model computed NaN or infinity from this text; compute in f32".into())?;
        let observed = pass.routings.unwrap_or_default().iter().map(|routing| self.observe(routing)).collect::<Result<_>>()?;
        Ok((hidden, observed))
    }

    fn observe(&self, routing: &Routing) -> Result<Observed> {
        let logits = routing.logits.f_index_select(0, &self.places)?;
        finite(&logits, || format!("layer {}: the router's logits are NaN or infinity; compute in f32", routing.layer))?;
        Ok(Observed { logits, chosen: chosen(routing)?.f_index_select(0, &self.places)? })
    }
}

/// What one router did with the tokens of a batch.
pub(super) struct Observed {
    /// `[T, N]`, f32.
    pub(super) logits: Tensor,
    /// 1 where the expert got the token, `[T, N]`, f32.
    pub(super) chosen: Tensor,
}

impl Observed {
    /// Tokens of each expert, `[N]`.
    pub(super) fn counts(&self) -> Result<Vec<i64>> {
        Ok(Vec::try_from(self.chosen.f_sum_dim_intlist([0].as_slice(), false, Kind::Int64)?.f_to(Device::Cpu)?)?)
    }
}

/// Assignments as a matrix of zeros and ones, one row a token, padding included.
fn chosen(routing: &Routing) -> Result<Tensor> {
    let (tokens, experts) = routing.logits.size2()?;
    let numbers = Tensor::f_arange(experts, (Kind::Int64, routing.logits.device()))?;
    let expert = numbers.f_repeat_interleave_self_tensor(&routing.counts, 0, routing.tokens.size1()?)?; // [A]
    let places = routing.tokens.f_mul_scalar(experts)?.f_add(&expert)?;
    let zeros = Tensor::f_zeros([tokens * experts], (Kind::Float, routing.logits.device()))?;
    Ok(zeros.f_index_fill(0, &places, 1.0)?.f_view([tokens, experts])?)
}

/// The most probable next id after each of `hidden [T, D]`.
pub(super) fn predicted(model: &Model, hidden: &Tensor) -> Result<Vec<i64>> {
    let tokens = hidden.size2()?.0;
    let step = (LOGITS / model.config.vocab_size).clamp(1, tokens.max(1));
    let mut ids = Vec::with_capacity(tokens as usize);
    for start in (0..tokens).step_by(step as usize) {
        let logits = model.logits(&hidden.f_narrow(0, start, step.min(tokens - start))?)?; // [.., V]
        ids.extend(Vec::<i64>::try_from(logits.f_argmax(-1, false)?.f_to(Device::Cpu)?)?);
    }
    Ok(ids)
}

fn finite(values: &Tensor, sentence: impl FnOnce() -> String) -> Result<()> {
    if bool::try_from(values.f_isfinite()?.f_all()?)? { Ok(()) } else { Err(Error::NonFinite(sentence()).into()) }
}
