//! The measured counterpart of [`flops`](crate::flops): passes that are run and watched from below, and timed.
//!
//! A formula that forgets the router, or a program that runs all experts where it should run two, agrees with itself; what libtorch's
//! dispatcher and our kernels say they executed ([`ext::tally`]) does not depend on the formula. Watched passes are not timed, and
//! timed passes are not watched. Tokens are drawn from the whole vocabulary, so that routers choose among all experts.

mod passes;

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tch::Tensor;

use crate::error::{Error, Result};
use crate::ext::tally::{Tally, Watched};
use crate::flops::Place;
use crate::model::Model;

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Tokens of a prompt or training sequence, and positions the decoded token attends to, itself included; two at least.
    pub context: usize,
    /// Sequences side by side.
    pub batch: usize,
    /// Timed passes of each kind, of which the median counts.
    pub repeats: usize,
    /// Every token follows from it.
    pub seed: u64,
    /// Whether a forward and a backward pass are measured too, which takes memory for gradients and activations.
    pub training: bool,
}

/// What ran.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// Prompts, the head at their last position.
    pub prefill: Executed,
    /// One step of decoding.
    pub decode: Executed,
    /// Forward and backward pass, without the optimizer; absent where it was not asked for.
    pub training: Option<Executed>,
}

/// One pass over the whole batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Executed {
    /// Tokens it computed.
    pub tokens: u64,
    /// Matrix products executed.
    pub products: u64,
    /// Their operations; a multiplication and an addition are two.
    pub flops: u64,
    /// Bytes of the weights and of the KV cache that were read, each byte once.
    pub bytes: u64,
    /// Both by place. In a backward pass, products of two activations are not told apart and stand in `flops` alone.
    pub by_place: BTreeMap<Place, Cost>,
    /// Distinct experts that a routed layer read, the mean over layers; absent without experts.
    pub distinct_experts: Option<f64>,
    /// Seconds of the pass, the median of those that were timed.
    pub seconds: f64,
}

/// What one place cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Operations of its products.
    pub flops: u64,
    /// Bytes of its weights, or of the KV cache, that were read.
    pub bytes: u64,
}

/// Runs, watches and times each pass. `between` is called between passes; what it returns as an error ends the measurement.
///
/// # Errors
/// When the probe means nothing or does not fit the model's context, memory is lacking, or `between` fails.
pub fn measure(model: &Model, probe: &Probe, between: &mut dyn FnMut() -> Result<()>) -> Result<Measured> {
    check(model, probe)?;
    let mut passes = passes::Passes { model, probe, between };
    let _guard = tch::no_grad_guard();
    let (prefill, decode) = (passes.prefill()?, passes.decode()?);
    let training = if probe.training { Some(tch::with_grad(|| passes.training())?) } else { None };
    Ok(Measured { prefill, decode, training })
}

fn check(model: &Model, probe: &Probe) -> Result<()> {
    let limit = model.config.max_position_embeddings;
    if probe.context < 2 || probe.batch == 0 || probe.repeats == 0 {
        return Err(Error::Input("a measurement needs a context of two tokens, one sequence and one repeat at least".into()));
    }
    if (probe.context + probe.repeats) as i64 > limit {
        let (context, repeats) = (probe.context, probe.repeats);
        return Err(Error::Input(format!("{context} tokens and {repeats} timed steps after them exceed this model's context of {limit}")));
    }
    Ok(())
}

impl Probe {
    /// Prompts of `length` tokens.
    fn prompts(&self, model: &Model, length: usize) -> Vec<Vec<i64>> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut prompt = || (0..length).map(|_| rng.random_range(0..model.config.vocab_size)).collect();
        (0..self.batch).map(|_| prompt()).collect()
    }
}

impl Executed {
    /// From a tally in which the model's parameters were watched first, in their order, then the cache.
    fn new(model: &Model, tally: &Tally, tokens: usize, seconds: f64) -> Self {
        let by_place = by_place(model, tally);
        let routed = model.config.moe.as_ref().filter(|moe| !moe.layers.is_empty());
        let distinct_experts = routed.map(|moe| {
            let expert = 3 * model.config.hidden_size * moe.expert_intermediate_size * model.kind().elt_size_in_bytes() as i64;
            by_place.get(&Place::Experts).map_or(0.0, |cost| cost.bytes as f64) / expert as f64 / moe.layers.len() as f64
        });
        let (products, flops, bytes) = (tally.products, tally.operations(), tally.bytes());
        Self { tokens: tokens as u64, products, flops, bytes, by_place, distinct_experts, seconds }
    }
}

/// Costs by place: weights by their names, batched products are attention's core, and a product of no watched weight is a router's, which
/// computes in f32 with a copy of its weight.
fn by_place(model: &Model, tally: &Tally) -> BTreeMap<Place, Cost> {
    let tied = model.config.tie_word_embeddings;
    let parameters = model.parameters();
    let place = |name: &str| if tied && name == "model.embed_tokens.weight" { Place::Head } else { Place::of(name) };
    let (weights, cache) = tally.watched.split_at(parameters.len().min(tally.watched.len()));
    let weights = parameters.iter().zip(weights).map(|(parameter, watched)| (place(&parameter.name), *watched));
    let cache = cache.iter().map(|watched| (Place::AttentionCore, *watched));
    let rest = [(Place::AttentionCore, tally.batched), (Place::Routers, tally.other)];
    let rest = rest.map(|(place, operations)| (place, Watched { operations, bytes: 0 }));
    let mut found: BTreeMap<Place, Cost> = BTreeMap::new();
    for (place, Watched { operations, bytes }) in weights.chain(cache).chain(rest).filter(|(_, w)| w.operations + w.bytes > 0) {
        let cost = found.entry(place).or_default();
        (cost.flops, cost.bytes) = (cost.flops + operations, cost.bytes + bytes);
    }
    found
}

/// Waits until what was computed is there.
fn wait(result: &Tensor) -> Result<()> {
    Ok(result.f_flatten(0, -1)?.f_double_value(&[0]).map(drop)?)
}
