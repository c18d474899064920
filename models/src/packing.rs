//! Sequences packed with several documents each: positions begin anew at every document, and none attends to the one before it, as in
//! the training of StableLM 2 (`reset_position_ids`, `reset_attention_mask` of its GPT-NeoX configuration).

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};

// B sequences, S tokens of each, H heads, d head size.

/// Documents at least this long on average are attended to one by one; shorter ones all at once under a mask.
const LONG: i64 = 128;

/// Where the documents of a batch lie.
#[derive(Debug)]
pub struct Packing {
    /// Position of each token in its document, `[B, S]`, i64.
    pub positions: Tensor,
    attention: Attention,
}

#[derive(Debug)]
enum Attention {
    /// First token and length of every document, sequence by sequence.
    Each(Vec<Vec<(i64, i64)>>),
    /// Added to the scores, `[B, 1, S, S]`: 0 where a token may look, else minus infinity.
    Masked(Tensor),
}

impl Packing {
    /// Sequences of `length` tokens whose documents begin at `starts`, ascending; what stands before the first start is a document too.
    /// Attention is computed in `kind`.
    ///
    /// # Errors
    /// When a start is not within its sequence or does not ascend.
    pub fn new(starts: &[Vec<i64>], length: i64, kind: Kind, device: Device) -> Result<Self> {
        let spans = starts.iter().map(|starts| spans(starts, length)).collect::<Result<Vec<_>>>()?;
        let positions = positions(&spans)?.f_view([spans.len() as i64, length])?.f_to_device(device)?;
        let documents: usize = spans.iter().map(Vec::len).sum();
        let attention = if spans.len() as i64 * length >= LONG * documents as i64 {
            Attention::Each(spans)
        } else {
            Attention::Masked(mask(&positions, kind)?)
        };
        Ok(Self { positions, attention })
    }

    /// Causal attention of `q`, `k`, `v [B, H, S, d]` within documents, `[B, H, S, d]`.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        match &self.attention {
            Attention::Masked(mask) => Ok(Tensor::f_scaled_dot_product_attention(q, k, v, Some(mask), 0.0, false, None, false)?),
            Attention::Each(rows) => {
                let rows = rows.iter().enumerate().map(|(row, spans)| each(row as i64, spans, [q, k, v]));
                Ok(Tensor::f_cat(&rows.collect::<Result<Vec<_>>>()?, 0)?)
            }
        }
    }
}

/// Attention of the documents of one sequence, `[1, H, S, d]`.
fn each(row: i64, spans: &[(i64, i64)], [q, k, v]: [&Tensor; 3]) -> Result<Tensor> {
    let part = |x: &Tensor, (start, length): (i64, i64)| x.f_narrow(0, row, 1)?.f_narrow(2, start, length);
    let parts = spans.iter().map(|&span| {
        let (q, k, v) = (part(q, span)?, part(k, span)?, part(v, span)?);
        Ok(Tensor::f_scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, true, None, false)?)
    });
    Ok(Tensor::f_cat(&parts.collect::<Result<Vec<_>>>()?, 2)?)
}

/// First token and length of each document of a sequence.
fn spans(starts: &[i64], length: i64) -> Result<Vec<(i64, i64)>> {
    let rest = starts.iter().copied().filter(|&start| start != 0);
    let borders: Vec<i64> = std::iter::once(0).chain(rest).chain([length]).collect();
    if borders.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(Error::Input(format!("documents begin at {starts:?}, which do not ascend within a sequence of {length} tokens")));
    }
    Ok(borders.windows(2).map(|pair| (pair[0], pair[1] - pair[0])).collect())
}

fn positions(rows: &[Vec<(i64, i64)>]) -> Result<Tensor> {
    let positions: Vec<i64> = rows.iter().flatten().flat_map(|&(_, length)| 0..length).collect();
    Ok(Tensor::f_from_slice(&positions)?)
}

/// A token may look at those before it whose distance from it is no more than its position.
fn mask(positions: &Tensor, kind: Kind) -> Result<Tensor> {
    let (_, length) = positions.size2()?;
    let index = Tensor::f_arange(length, (Kind::Int64, positions.device()))?;
    let distance = index.f_unsqueeze(1)?.f_sub(&index)?; // [S, S]
    let near = distance.f_unsqueeze(0)?.f_le_tensor(&positions.f_unsqueeze(2)?)?; // [B, S, S]
    let allowed = near.f_logical_and(&distance.f_ge(0)?)?.f_unsqueeze(1)?; // [B, 1, S, S]
    let zeros = Tensor::f_zeros(allowed.size(), (kind, positions.device()))?;
    Ok(zeros.f_masked_fill(&allowed.f_logical_not()?, f64::NEG_INFINITY)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

    #[test]
    fn positions_begin_anew_at_every_document() {
        let packing = Packing::new(&[vec![0, 2], vec![3]], 5, CPU.0, CPU.1).unwrap();
        assert_eq!(Vec::<Vec<i64>>::try_from(packing.positions).unwrap(), [[0, 1, 0, 1, 2], [0, 1, 2, 0, 1]]);
    }

    #[test]
    fn both_ways_are_the_attention_of_each_document_alone() {
        let (starts, length) = ([vec![0, 2], vec![3]], 5);
        let [q, k, v] = [1, 2, 3].map(|seed| {
            tch::manual_seed(seed);
            Tensor::randn([2, 3, length, 4], CPU)
        });
        let masked = Packing::new(&starts, length, CPU.0, CPU.1).unwrap();
        assert!(matches!(masked.attention, Attention::Masked(_)));
        let rows = starts.iter().map(|starts| spans(starts, length).unwrap()).collect();
        let one_by_one = Packing { positions: masked.positions.shallow_clone(), attention: Attention::Each(rows) };
        let (found, expected) = (masked.attend(&q, &k, &v).unwrap(), one_by_one.attend(&q, &k, &v).unwrap());
        assert!(found.allclose(&expected, 1e-5, 1e-6, false));
        let alone = |x: &Tensor| x.narrow(0, 1, 1).narrow(2, 3, 2);
        let direct = Tensor::scaled_dot_product_attention(&alone(&q), &alone(&k), &alone(&v), None::<&Tensor>, 0.0, true, None, false);
        assert!(alone(&found).allclose(&direct, 1e-5, 1e-6, false));
    }

    #[test]
    fn refuses_starts_outside_of_the_sequence() {
        for starts in [vec![5], vec![2, 2], vec![3, 1], vec![-1]] {
            assert!(Packing::new(&[starts], 5, CPU.0, CPU.1).is_err());
        }
    }
}
