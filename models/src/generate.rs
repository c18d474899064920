//! Generation with traces: `N` samples of each prompt share one prefill and are decoded as one batch; prompts are batched too.

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use tch::{Kind, Tensor};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::init::stream;
use crate::model::{Memory, Model};
use crate::sampling::Sampling;
use crate::score::{check_tokens, entropy, log_softmax, non_finite, pad};

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
    let mut rows = Rows::new(prompts, options);
    let mut hidden = prefill(model, &ids, &lengths, &mut cache)?.f_repeat_interleave_self_int(samples, 0, None)?; // [R, D]
    for step in 0..capacity {
        let tokens = rows.step(model, &model.logits(&hidden)?)?;
        if rows.done() || step + 1 == capacity {
            break;
        }
        hidden = model.decode(&Tensor::f_from_slice(&tokens)?.f_to(device)?, &mut cache)?.f_squeeze_dim(1)?;
    }
    Ok(rows.into_traces(options.samples))
}

/// Refuses what cannot be generated; returns how many tokens fit.
fn check(model: &Model, prompts: &[Vec<i64>], options: &Options) -> Result<i64> {
    options.sampling.check()?;
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

/// Runs the prompts `ids [G, P]` once and returns the hidden state after each one's last token, `[G, D]`.
pub(crate) fn prefill(model: &Model, ids: &Tensor, lengths: &[i64], cache: &mut Cache) -> Result<Tensor> {
    let mut pass = model.pass(ids.size()[1], Memory::Prefill(cache))?;
    let hidden = model.hidden(ids, &mut pass)?; // [G, P, D]
    let last = lengths.iter().enumerate().map(|(row, &length)| Ok(hidden.f_get(row as i64)?.f_get(length - 1)?));
    Ok(Tensor::f_stack(&last.collect::<Result<Vec<_>>>()?, 0)?)
}

/// One sample in the making.
struct Row<'a> {
    prompt: &'a [i64],
    rng: ChaCha8Rng,
    trace: Trace,
    greedy: bool,
    done: bool,
}

/// All samples in the making.
struct Rows<'a, 'o> {
    rows: Vec<Row<'a>>,
    options: &'o Options<'o>,
}

impl<'a, 'o> Rows<'a, 'o> {
    fn new(prompts: &'a [Vec<i64>], options: &'o Options<'o>) -> Self {
        let row = |prompt: &'a Vec<i64>, sample: usize| Row {
            prompt,
            rng: stream(options.seed, &format!("{sample} {prompt:?}")),
            trace: Trace { tokens: vec![], logprobs: vec![], entropies: vec![], top_logprobs: vec![], finish: Finish::Length },
            greedy: options.greedy_first && sample == 0,
            done: false,
        };
        Self { rows: prompts.iter().flat_map(|prompt| (0..options.samples).map(move |sample| row(prompt, sample))).collect(), options }
    }

    fn done(&self) -> bool {
        self.rows.iter().all(|row| row.done)
    }

    /// Chooses and records one token per row from `logits [R, V]`; returns what to feed next.
    fn step(&mut self, model: &Model, logits: &Tensor) -> Result<Vec<i64>> {
        let view = View::new(model, logits, self.options.top_logprobs)?;
        let options = self.options;
        let choose = |(index, row): (usize, &mut Row)| if row.done { 0 } else { row.step(&view, index, options) };
        Ok(self.rows.par_iter_mut().enumerate().map(choose).collect())
    }

    fn into_traces(self, samples: usize) -> Vec<Vec<Trace>> {
        let mut traces = self.rows.into_iter().map(|row| row.trace);
        std::iter::from_fn(|| Some(traces.by_ref().take(samples).collect::<Vec<_>>()).filter(|group| !group.is_empty())).collect()
    }
}

impl Row<'_> {
    fn step(&mut self, view: &View, index: usize, options: &Options) -> i64 {
        let mut logits = view.row(index).to_vec();
        for &id in &options.banned_ids {
            logits[id as usize] = f32::NEG_INFINITY;
        }
        let penalised = if options.sampling.repetition_penalty == 1.0 { vec![] } else { [self.prompt, &self.trace.tokens].concat() };
        let temperature = if self.greedy { 0.0 } else { options.sampling.temperature };
        let token = Sampling { temperature, ..options.sampling.clone() }.choose(&mut logits, &penalised, &mut self.rng);
        if options.stop_ids.contains(&token) {
            return self.finish();
        }
        self.trace.tokens.push(token);
        self.trace.logprobs.push(view.logprob(index, token));
        self.trace.entropies.push(view.entropies[index]);
        self.trace.top_logprobs.push(view.top(index));
        if options.stop_when.is_some_and(|stop| stop(&self.trace.tokens)) {
            return self.finish();
        }
        token
    }

    fn finish(&mut self) -> i64 {
        self.done = true;
        self.trace.finish = Finish::Stop;
        0
    }
}

/// One step's raw distributions on the host.
struct View {
    logits: Vec<f32>,      // [R, V]
    normalisers: Vec<f64>, // [R], log of the sum of exp
    entropies: Vec<f64>,   // [R]
    top: Vec<(i64, f64)>,  // [R, k]
    vocabulary: usize,
    alternatives: usize,
}

impl View {
    fn new(model: &Model, logits: &Tensor, alternatives: usize) -> Result<Self> {
        let logits = logits.f_to_kind(Kind::Float)?; // [R, V]
        let distribution = log_softmax(&logits)?;
        let entropies = Vec::<f64>::try_from(entropy(&distribution)?.f_to_kind(Kind::Double)?)?;
        if entropies.iter().any(|entropy| !entropy.is_finite()) {
            return Err(non_finite(model));
        }
        let vocabulary = model.config.vocab_size as usize;
        let alternatives = alternatives.min(vocabulary);
        let (values, ids) = distribution.f_topk(alternatives as i64, -1, true, true)?;
        let values = Vec::<f64>::try_from(values.f_to_kind(Kind::Double)?.f_flatten(0, -1)?)?;
        let top = Vec::<i64>::try_from(ids.f_flatten(0, -1)?)?.into_iter().zip(values).collect();
        let normalisers = Vec::<f64>::try_from(logits.f_logsumexp([-1].as_slice(), false)?.f_to_kind(Kind::Double)?)?;
        let logits = Vec::<f32>::try_from(logits.f_contiguous()?.f_flatten(0, -1)?)?;
        Ok(Self { logits, normalisers, entropies, top, vocabulary, alternatives })
    }

    fn row(&self, index: usize) -> &[f32] {
        &self.logits[index * self.vocabulary..][..self.vocabulary]
    }

    fn logprob(&self, index: usize, token: i64) -> f64 {
        f64::from(self.row(index)[token as usize]) - self.normalisers[index]
    }

    fn top(&self, index: usize) -> Vec<(i64, f64)> {
        self.top[index * self.alternatives..][..self.alternatives].to_vec()
    }
}
