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
        let prompts = Tensor::f_from_slice(prompts)?.f_to(device)?;
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let lengths = Tensor::f_from_slice(lengths)?.f_to(device)?.f_index_select(0, &prompts)?.f_view([-1, 1, 1, 1])?; // [R, 1, 1, 1]
        let rows = lengths.size()[0];
        let places = |count: i64| Ok(Tensor::f_arange(count, (Kind::Int64, device))?) as Result<Tensor>;
        let padded = places(longest)?.f_view([1, 1, 1, -1])?.f_ge_tensor(&lengths)?.f_expand([rows, 1, length, longest], false)?;
        let later = places(length)?.f_view([1, -1])?.f_gt_tensor(&places(length)?.f_view([-1, 1])?)?; // [S, S]
        let hidden = Tensor::f_cat(&[padded, later.f_expand([rows, 1, length, length], false)?], -1)?;
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
