//! Generation with traces: `N` samples of each prompt share one prefill and are decoded as one batch; prompts are batched too.

mod rows;
mod view;

use tch::Tensor;

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::model::{Memory, Model, Pass};
use crate::observe::{AttentionSummary, Divergences, HiddenSummary, Observe, States, host};
use crate::sampling::Sampling;
use crate::score::{check_tokens, pad};

use rows::Rows;

// G prompts, N samples, R = G*N rows, P prefix length, D hidden, V vocabulary.

/// Ends a sample early: given its tokens so far, whether it is done (stop strings).
pub type StopWhen<'a> = &'a (dyn Fn(&[i64]) -> bool + Sync);

/// What to generate.
#[derive(Clone)]
pub struct Options<'a> {
    /// Longest response in tokens.
    pub max_new_tokens: usize,
    /// Samples of each prompt.
    pub samples: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Every draw follows from this, the prompt's tokens and the sample's number, whatever the batch.
    pub seed: u64,
    /// Ids that end a response; they are not part of it.
    pub stop_ids: Vec<i64>,
    /// Ids that must not be generated (padding of the vocabulary, unused ids).
    pub banned_ids: Vec<i64>,
    /// Most probable alternatives kept for every token.
    pub top_logprobs: usize,
    /// Ends a sample early.
    pub stop_when: Option<StopWhen<'a>>,
    /// Whether each prompt's first sample takes the most probable token throughout, whatever the temperature.
    pub greedy_first: bool,
    /// What else is to be kept of every response.
    pub observe: Observe,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            max_new_tokens: 64,
            samples: 1,
            sampling: Sampling::default(),
            seed: 0,
            stop_ids: Vec::new(),
            banned_ids: Vec::new(),
            top_logprobs: 0,
            stop_when: None,
            greedy_first: false,
            observe: Observe::default(),
        }
    }
}

/// Why a response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// A stop id or stop string.
    Stop,
    /// The token limit or the context's end.
    Length,
}

/// One response. Log-probabilities and entropies are natural and of the raw distribution: temperature 1, whole vocabulary.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Generated ids, the stop id left out.
    pub tokens: Vec<i64>,
    /// Log-probability of each.
    pub logprobs: Vec<f64>,
    /// Entropy of the distribution each was drawn from.
    pub entropies: Vec<f64>,
    /// The most probable alternatives at each place, with their log-probabilities.
    pub top_logprobs: Vec<Vec<(i64, f64)>>,
    /// Divergence of the distributions from the uniform one, where observed.
    pub divergences: Divergences,
    /// What its attention comes to, where observed and there is a token.
    pub attention: Option<AttentionSummary>,
    /// Its hidden states, one entry an observed layer.
    pub hidden: Vec<HiddenSummary>,
    /// Why it ended.
    pub finish: Finish,
}

/// Responses to every prompt: `[prompt][sample]`.
///
/// # Errors
/// When a prompt is empty, holds an id outside the vocabulary or fills the context, when a setting means nothing, and when the model
/// computes NaN.
pub fn generate(model: &Model, prompts: &[Vec<i64>], options: &Options) -> Result<Vec<Vec<Trace>>> {
    let _guard = tch::no_grad_guard();
    let capacity = check(model, prompts, options)?;
    let (ids, lengths) = pad(prompts, model)?;
    let (samples, device) = (options.samples as i64, model.device());
    let mut cache = Cache::new(&model.config, &lengths, samples, capacity, model.kind(), device)?;
    if options.observe.attention {
        cache.watch();
    }
    let prompt = prefill_observed(model, &ids, &lengths, &mut cache, &options.observe.hidden_layers)?;
    let mut rows = Rows::new(model, prompts, options, capacity, &prompt.states);
    let mut hidden = prompt.hidden.f_repeat_interleave_self_int(samples, 0, None)?; // [R, D]
    loop {
        let tokens = rows.step(model, &model.logits(&hidden)?)?;
        if rows.done() && !rows.to_observe() {
            break;
        }
        let tokens = Tensor::f_from_slice(&tokens)?.f_to(device)?;
        let (next, states) = model.decode_observed(&tokens, &mut cache, &options.observe.hidden_layers)?;
        rows.observe(cache.take_watched()?, &states)?;
        if rows.done() {
            break;
        }
        hidden = next.f_squeeze_dim(1)?;
    }
    Ok(rows.into_traces(options.samples))
}

/// Refuses what cannot be generated; returns how many tokens fit.
fn check(model: &Model, prompts: &[Vec<i64>], options: &Options) -> Result<i64> {
    options.sampling.check()?;
    options.observe.check(&model.config)?;
    prompts.iter().try_for_each(|tokens| check_tokens(&model.config, tokens))?;
    let limit = model.config.max_position_embeddings;
    let longest = prompts.iter().map(|tokens| tokens.len() as i64).max().unwrap_or(0);
    if prompts.is_empty() || options.samples == 0 || options.max_new_tokens == 0 {
        return Err(Error::Input("prompts, samples and new tokens must each be at least one".into()));
    }
    if longest == limit {
        return Err(Error::Input(format!("the prompt fills the whole context of {limit} tokens")));
    }
    let bad = options.banned_ids.iter().find(|id| !(0..model.config.vocab_size).contains(*id));
    bad.map_or(Ok((options.max_new_tokens as i64).min(limit - longest)), |id| {
        Err(Error::Input(format!("banned id {id} is outside the vocabulary")))
    })
}

/// What the prompts left at each one's last token.
struct Prefilled {
    /// After the final norm, `[G, D]`.
    hidden: Tensor,
    /// After the chosen layers, one entry a prompt, `[layers][D]`.
    states: Vec<Vec<Vec<f32>>>,
}

/// Runs the prompts `ids [G, P]` once and returns the hidden state after each one's last token, `[G, D]`.
pub(crate) fn prefill(model: &Model, ids: &Tensor, lengths: &[i64], cache: &mut Cache) -> Result<Tensor> {
    Ok(prefill_observed(model, ids, lengths, cache, &[])?.hidden)
}

/// [`prefill`], with the states after the given layers.
fn prefill_observed(model: &Model, ids: &Tensor, lengths: &[i64], cache: &mut Cache, layers: &[usize]) -> Result<Prefilled> {
    let mut pass = Pass { states: States::of(layers), ..model.pass(ids.size()[1], Memory::Prefill(cache))? };
    let hidden = last(&model.hidden(ids, &mut pass)?, lengths)?;
    let kept = pass.states.map_or_else(Vec::new, States::into_kept);
    let kept = kept.iter().map(|states| last(states, lengths)).collect::<Result<Vec<_>>>()?; // [layers] of [G, D]
    let of = |row: usize| kept.iter().map(|states| host(&states.f_get(row as i64)?)).collect();
    Ok(Prefilled { hidden, states: (0..lengths.len()).map(of).collect::<Result<_>>()? })
}

/// The state at the last token of each row of `hidden [G, P, D]`, `[G, D]`.
fn last(hidden: &Tensor, lengths: &[i64]) -> Result<Tensor> {
    let last = lengths.iter().enumerate().map(|(row, &length)| Ok(hidden.f_get(row as i64)?.f_get(length - 1)?));
    Ok(Tensor::f_stack(&last.collect::<Result<Vec<_>>>()?, 0)?)
}
