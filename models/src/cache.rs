//! The KV cache: one prefix per prompt, shared by all samples drawn from it, and one suffix per sample.
//!
//! Sharing keeps the memory of `N` samples of one prompt at one prompt's worth, and lets all samples attend to it in one product.

mod extension;

use tch::{Device, Kind, Tensor};

use crate::config::Config;
use crate::error::{Error, Result};

pub use extension::Extension;

// G prompts, N samples of each, R = G*N rows, H query heads, C key/value heads, r = H/C, P prefix length, T suffix length, d head size.

/// Keys and values of one layer.
#[derive(Debug)]
pub struct LayerCache {
    prefix: Option<(Tensor, Tensor)>, // [G, C, P, d] each
    suffix: (Tensor, Tensor),         // [R, C, capacity, d] each
}

/// Keys and values of every layer, and where each row stands.
#[derive(Debug)]
pub struct Cache {
    /// One entry a layer.
    pub layers: Vec<LayerCache>,
    /// Length of each row's prompt, `[R]`, i64.
    lengths: Tensor,
    /// Added to prefix scores: 0 within a prompt, minus infinity over its padding, `[R, 1, 1, P]`, f32.
    padding: Tensor,
    samples: i64,
    used: i64,
    capacity: i64,
    /// What the last step's tokens attended to, a layer `[R, C, r, 2]`: the whole prompt, and themselves; none where not asked for.
    watched: Option<Vec<Tensor>>,
}

impl Cache {
    /// A cache for prompts of the given lengths (tokens), `samples` rows each, and up to `capacity` tokens after the prompt.
    ///
    /// # Errors
    /// When libtorch cannot allocate it.
    pub fn new(config: &Config, lengths: &[i64], samples: i64, capacity: i64, kind: Kind, device: Device) -> Result<Self> {
        let rows = lengths.len() as i64 * samples;
        let shape = [rows, config.num_key_value_heads, capacity, config.head_dim()];
        let empty = || Tensor::f_zeros(shape, (kind, device));
        let layer = || Ok(LayerCache { prefix: None, suffix: (empty()?, empty()?) });
        let layers = (0..config.num_hidden_layers).map(|_| layer()).collect::<Result<Vec<_>>>()?;
        let lengths_r = Tensor::f_from_slice(lengths)?.f_to(device)?.f_repeat_interleave_self_int(samples, 0, None)?;
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let past =
            Tensor::f_arange(longest, (Kind::Int64, device))?.f_view([1, 1, 1, -1])?.f_ge_tensor(&lengths_r.f_view([-1, 1, 1, 1])?)?;
        let padding = Tensor::f_zeros(past.size(), (Kind::Float, device))?.f_masked_fill(&past, f64::NEG_INFINITY)?;
        Ok(Self { layers, lengths: lengths_r, padding, samples, used: 0, capacity, watched: None })
    }

    /// Position of the token each row is about to be given, `[R]`, i64.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn positions(&self) -> Result<Tensor> {
        Ok(self.lengths.f_add_scalar(self.used)?)
    }

    /// Every tensor of keys and values, for whoever watches what is read.
    pub fn tensors(&self) -> Vec<&Tensor> {
        let pairs = self.layers.iter().flat_map(|layer| layer.prefix.iter().chain([&layer.suffix]));
        pairs.flat_map(|(keys, values)| [keys, values]).collect()
    }

    /// Whether the suffix has no room for another token.
    pub fn is_full(&self) -> bool {
        self.used == self.capacity
    }

    /// Counts one more token in every row, after all layers have stored it.
    pub fn advance(&mut self) {
        self.used += 1;
    }

    /// From now on keeps, of every step, what [`Cache::take_watched`] returns.
    pub fn watch(&mut self) {
        self.watched = Some(Vec::new());
    }

    /// What the tokens of the last step attended to, `[R, L, H, 2]` in f32: the sum over the whole prompt, and the weight of the token itself.
    /// None where it was not asked for.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn take_watched(&mut self) -> Result<Option<Tensor>> {
        let Some(watched) = self.watched.as_mut().map(std::mem::take).filter(|layers| !layers.is_empty()) else { return Ok(None) };
        Ok(Some(Tensor::f_stack(&watched, 1)?.f_flatten(2, 3)?)) // [R, L, C, r, 2] to [R, L, H, 2]
    }

    /// Keys and values `[G, C, P, d]` of the prompts in layer `index`.
    ///
    /// # Errors
    /// When no prompt was run.
    pub fn prefix(&self, index: usize) -> Result<&(Tensor, Tensor)> {
        let stored = self.layers.get(index).and_then(|layer| layer.prefix.as_ref());
        stored.ok_or_else(|| Error::Input(format!("the KV cache holds no prompt in layer {index}")))
    }

    /// Keeps the prompts' keys and values `[G, C, P, d]` of layer `index`.
    pub fn store_prefix(&mut self, index: usize, keys: &Tensor, values: &Tensor) {
        self.layers[index].prefix = Some((keys.shallow_clone(), values.shallow_clone()));
    }

    /// Attention of one new token per row: stores its `k`, `v [R, C, 1, d]` in layer `index` and attends `q [R, H, 1, d]` to prefix and
    /// suffix, softmax in f32. Returns `[R, H, 1, d]`.
    ///
    /// # Errors
    /// When the shapes do not match or the suffix is full.
    pub fn attend(&mut self, index: usize, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let (rows, heads, head) = (q.size()[0], q.size()[1], q.size()[3]);
        let shared = k.size()[1];
        let length = self.used + 1;
        let suffix = &self.layers[index].suffix;
        suffix.0.f_narrow(2, self.used, 1)?.f_copy_(k)?;
        suffix.1.f_narrow(2, self.used, 1)?.f_copy_(v)?;
        let (keys, values) = (suffix.0.f_narrow(2, 0, length)?, suffix.1.f_narrow(2, 0, length)?);
        let q = q.f_mul_scalar(1.0 / (head as f64).sqrt())?.f_reshape([rows, shared, heads / shared, head])?;
        let own = q.f_matmul(&keys.f_transpose(2, 3)?)?.f_to_kind(Kind::Float)?; // [R, C, r, T]
        let Some((prefix_keys, prefix_values)) = &self.layers[index].prefix else {
            let weights = own.f_softmax(-1, Kind::Float)?;
            let y = weights.f_to_kind(q.kind())?.f_matmul(&values)?.f_reshape([rows, heads, 1, head])?;
            self.reduce(&weights, length)?;
            return Ok(y);
        };
        let told = self.by_prompt(&q)?.f_matmul(&prefix_keys.f_transpose(2, 3)?)?; // [G, C, N*r, P]
        let told = self.by_row(&told)?.f_to_kind(Kind::Float)?.f_add(&self.padding)?; // [R, C, r, P]
        let width = told.size()[3];
        let exact = Tensor::f_cat(&[told, own], -1)?.f_softmax(-1, Kind::Float)?;
        let weights = exact.f_to_kind(q.kind())?;
        let from_prefix = self.by_prompt(&weights.f_narrow(-1, 0, width)?)?.f_matmul(prefix_values)?; // [G, C, N*r, d]
        let from_suffix = weights.f_narrow(-1, width, length)?.f_matmul(&values)?; // [R, C, r, d]
        let y = self.by_row(&from_prefix)?.f_add(&from_suffix)?.f_reshape([rows, heads, 1, head])?;
        self.reduce(&exact, length)?;
        Ok(y)
    }

    /// Reduces one layer's `weights [R, C, r, P+T]`, of which the last `length` are for the row's own tokens, where that was asked for.
    fn reduce(&mut self, weights: &Tensor, length: i64) -> Result<()> {
        if let Some(watched) = &mut self.watched {
            let width = weights.size()[3];
            let told = weights.f_narrow(-1, 0, width - length)?.f_sum_dim_intlist([-1].as_slice(), true, Kind::Float)?;
            watched.push(Tensor::f_cat(&[told, weights.f_narrow(-1, width - 1, 1)?], -1)?);
        }
        Ok(())
    }

    /// `[R, C, r, x]` to `[G, C, N*r, x]`: all samples of a prompt side by side.
    fn by_prompt(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, shared, group, width) = x.size4()?;
        let (prompts, samples) = (rows / self.samples, self.samples);
        let split = x.f_reshape([prompts, samples, shared, group, width])?.f_transpose(1, 2)?;
        Ok(split.f_reshape([prompts, shared, samples * group, width])?)
    }

    /// `[G, C, N*r, x]` back to `[R, C, r, x]`.
    fn by_row(&self, x: &Tensor) -> Result<Tensor> {
        let (prompts, shared, both, width) = x.size4()?;
        let (samples, group) = (self.samples, both / self.samples);
        let split = x.f_reshape([prompts, shared, samples, group, width])?.f_transpose(1, 2)?;
        Ok(split.f_reshape([prompts * samples, shared, group, width])?)
    }
}
