//! Several rows after each prompt, told whole: what prompts begin with alike is computed once, and the rest of each attends to it.

use tch::{Device, Kind, Tensor};

use crate::error::Result;

// G prompts, R rows, C key/value heads, P prefix length, S row length, d head size.

/// Where rows of several tokens stand that go on from the prompts of a [`Cache`](super::Cache).
#[derive(Debug)]
pub struct Extension {
    /// The prompt each row goes on from, `[R]`, i64.
    prompts: Tensor,
    /// Added to scores: 0 where a token may look, minus infinity over padding and what comes after it, `[R, 1, S, P+S]`.
    pub(crate) mask: Tensor,
}

impl Extension {
    /// Rows of up to `length` tokens, row `i` after prompt `prompts[i]`, where the prompts have the given lengths.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn new(prompts: &[i64], lengths: &[i64], length: i64, kind: Kind, device: Device) -> Result<Self> {
        Self::hiding(prompts, lengths, &later(length, device)?.f_expand([prompts.len() as i64, 1, length, length], false)?, kind)
    }

    /// Rows that branch: token `j` of row `i` is of branch `branches [R, S]` (i64), 0 the stem. A token sees the prompt, the stem before it and
    /// its own branch.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn branching(prompts: &[i64], lengths: &[i64], branches: &Tensor, kind: Kind) -> Result<Self> {
        let (_, length) = branches.size2()?;
        let (seen, own) = (branches.f_unsqueeze(1)?.f_unsqueeze(1)?, branches.f_unsqueeze(1)?.f_unsqueeze(3)?); // [R, 1, 1, S], [R, 1, S, 1]
        let foreign = seen.f_ne(0)?.f_logical_and(&seen.f_ne_tensor(&own)?)?; // [R, 1, S, S]
        Self::hiding(prompts, lengths, &foreign.f_logical_or(&later(length, branches.device())?)?, kind)
    }

    /// Rows whose tokens do not see each other where `own [R, 1, S, S]` holds.
    fn hiding(prompts: &[i64], lengths: &[i64], own: &Tensor, kind: Kind) -> Result<Self> {
        let (device, length) = (own.device(), own.size()[3]);
        let prompts = Tensor::f_from_slice(prompts)?.f_to(device)?;
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let lengths = Tensor::f_from_slice(lengths)?.f_to(device)?.f_index_select(0, &prompts)?.f_view([-1, 1, 1, 1])?; // [R, 1, 1, 1]
        let rows = lengths.size()[0];
        let padded = places(longest, device)?.f_view([1, 1, 1, longest])?.f_ge_tensor(&lengths)?;
        let hidden = Tensor::f_cat(&[&padded.f_expand([rows, 1, length, longest], false)?, own], -1)?;
        let mask = Tensor::f_zeros(hidden.size(), (kind, device))?.f_masked_fill(&hidden, f64::NEG_INFINITY)?;
        Ok(Self { prompts, mask })
    }

    /// Keys and values `[R, C, P+S, d]` of every row: those of its prompt (`[G, C, P, d]`), then its own `k`, `v [R, C, S, d]`.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub(crate) fn join(&self, prefix: &(Tensor, Tensor), k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let join = |told: &Tensor, own: &Tensor| -> Result<Tensor> {
            Ok(Tensor::f_cat(&[told.f_index_select(0, &self.prompts)?, own.shallow_clone()], 2)?)
        };
        Ok((join(&prefix.0, k)?, join(&prefix.1, v)?))
    }
}

fn places(count: i64, device: Device) -> Result<Tensor> {
    Ok(Tensor::f_arange(count, (Kind::Int64, device))?)
}

/// Whether column `j` comes after row `i`, `[S, S]`.
fn later(length: i64, device: Device) -> Result<Tensor> {
    let places = places(length, device)?;
    Ok(places.f_view([1, -1])?.f_gt_tensor(&places.f_view([-1, 1])?)?)
}
