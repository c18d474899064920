//! Samples in the making: each row chooses its tokens by itself and sums what the model shows of them.

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use tch::Tensor;

use super::view::View;
use super::{Finish, Options, Trace};
use crate::error::Result;
use crate::init::stream;
use crate::model::Model;
use crate::observe::{AttentionSums, Divergences, HiddenSums, Seen};
use crate::sampling::Sampling;

// R rows, L layers, H heads, D hidden, V vocabulary.

/// One sample in the making.
struct Row<'a> {
    prompt: &'a [i64],
    rng: ChaCha8Rng,
    trace: Trace,
    attention: Option<AttentionSums>,
    hidden: Vec<HiddenSums>,
    greedy: bool,
    done: bool,
    /// Whether the token fed next is one of the response.
    feeds: bool,
}

/// All samples in the making.
pub(super) struct Rows<'a, 'o> {
    rows: Vec<Row<'a>>,
    options: &'o Options<'o>,
    /// Tokens that fit.
    capacity: usize,
}

impl<'a, 'o> Rows<'a, 'o> {
    /// Rows that begin after `prompts`; `states[prompt][layer]` are those of the observed layers at each one's last token.
    pub(super) fn new(model: &Model, prompts: &'a [Vec<i64>], options: &'o Options<'o>, capacity: i64, states: &[Vec<Vec<f32>>]) -> Self {
        let row = |index: usize, sample: usize| Row::new(model, &prompts[index], sample, options, &states[index]);
        let rows = (0..prompts.len()).flat_map(|index| (0..options.samples).map(move |sample| row(index, sample))).collect();
        Self { rows, options, capacity: capacity as usize }
    }

    /// Whether all responses are complete.
    pub(super) fn done(&self) -> bool {
        self.rows.iter().all(|row| row.done)
    }

    /// Whether complete responses have a last token that is still to be run through the model.
    pub(super) fn to_observe(&self) -> bool {
        self.options.observe.last_token() && self.rows.iter().any(|row| row.feeds)
    }

    /// Chooses and records one token per row from `logits [R, V]`; returns what to feed next.
    pub(super) fn step(&mut self, model: &Model, logits: &Tensor) -> Result<Vec<i64>> {
        let view = View::new(model, logits, self.options)?;
        let (options, capacity) = (self.options, self.capacity);
        Ok(self.rows.par_iter_mut().enumerate().map(|(index, row)| row.step(&view, index, options, capacity)).collect())
    }

    /// Adds what the tokens just fed showed: `attention [R, L, H, 2]`, and the states `[R, 1, D]` of each observed layer.
    pub(super) fn observe(&mut self, attention: Option<Tensor>, states: &[Tensor]) -> Result<()> {
        if attention.is_some() || !states.is_empty() {
            let seen = Seen::new(self.rows.len(), attention, states)?;
            self.rows.par_iter_mut().enumerate().filter(|(_, row)| row.feeds).for_each(|(index, row)| row.observe(&seen, index));
        }
        Ok(())
    }

    /// The responses, by prompt.
    pub(super) fn into_traces(self, samples: usize) -> Vec<Vec<Trace>> {
        let mut traces = self.rows.into_iter().map(Row::into_trace);
        std::iter::from_fn(|| Some(traces.by_ref().take(samples).collect::<Vec<_>>()).filter(|group| !group.is_empty())).collect()
    }
}

impl<'a> Row<'a> {
    fn new(model: &Model, prompt: &'a [i64], sample: usize, options: &Options, states: &[Vec<f32>]) -> Self {
        let (layers, heads) = (model.config.num_hidden_layers, model.config.num_attention_heads as usize);
        let layer = |(&layer, state): (&usize, &Vec<f32>)| HiddenSums::new(layer, state);
        Self {
            prompt,
            rng: stream(options.seed, &format!("{sample} {prompt:?}")),
            trace: empty(),
            attention: options.observe.attention.then(|| AttentionSums::new(prompt.len(), layers, heads)),
            hidden: options.observe.hidden_layers.iter().zip(states).map(layer).collect(),
            greedy: options.greedy_first && sample == 0,
            done: false,
            feeds: false,
        }
    }

    /// Chooses a token unless the response is complete; returns what to feed.
    fn step(&mut self, view: &View, index: usize, options: &Options, capacity: usize) -> i64 {
        self.feeds = false;
        if self.done {
            return 0;
        }
        let token = self.choose(view.row(index).to_vec(), options);
        if options.stop_ids.contains(&token) {
            self.finish(Finish::Stop);
            return 0;
        }
        self.push(view, index, token);
        if options.stop_when.is_some_and(|stop| stop(&self.trace.tokens)) {
            self.finish(Finish::Stop);
        } else if self.trace.tokens.len() == capacity {
            self.finish(Finish::Length);
        }
        token
    }

    fn choose(&mut self, mut logits: Vec<f32>, options: &Options) -> i64 {
        for &id in &options.banned_ids {
            logits[id as usize] = f32::NEG_INFINITY;
        }
        let penalised = if options.sampling.repetition_penalty == 1.0 { vec![] } else { [self.prompt, &self.trace.tokens].concat() };
        let temperature = if self.greedy { 0.0 } else { options.sampling.temperature };
        Sampling { temperature, ..options.sampling.clone() }.choose(&mut logits, &penalised, &mut self.rng)
    }

    fn push(&mut self, view: &View, index: usize, token: i64) {
        view.record(index, token, &mut self.trace);
        self.feeds = true;
        if let (Some(attention), Some(&logprob)) = (&mut self.attention, self.trace.logprobs.last()) {
            attention.choose(logprob);
        }
    }

    fn finish(&mut self, why: Finish) {
        self.done = true;
        self.trace.finish = why;
    }

    fn observe(&mut self, seen: &Seen, index: usize) {
        if let Some(attention) = self.attention.as_mut().filter(|_| !self.done) {
            attention.observe(seen.attention(index));
        }
        self.hidden.iter_mut().zip(seen.hidden(index)).for_each(|(sums, state)| sums.observe(state));
    }

    fn into_trace(self) -> Trace {
        let attention = self.attention.and_then(|sums| sums.summary());
        Trace { attention, hidden: self.hidden.into_iter().map(HiddenSums::into_summary).collect(), ..self.trace }
    }
}

/// A response without tokens.
fn empty() -> Trace {
    Trace {
        tokens: vec![],
        logprobs: vec![],
        entropies: vec![],
        top_logprobs: vec![],
        divergences: Divergences::default(),
        attention: None,
        hidden: vec![],
        finish: Finish::Length,
    }
}
