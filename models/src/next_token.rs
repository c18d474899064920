//! The next token after prompts that begin alike: what they share is computed once.
//!
//! A model that judges an answer is asked many questions that differ in a sentence. Each group of prompts is run as one prefix, kept in a
//! cache, and one batch of what follows it.

use tch::{Kind, Tensor};

use crate::cache::{Cache, Extension};
use crate::error::{Error, Result};
use crate::model::{Memory, Model, Pass};
use crate::score::{check_tokens, log_softmax, non_finite, pad};

// G groups, R prompts, S longest remainder, D hidden, V vocabulary.

/// Tokens run at a time, padding included.
const TOKENS: usize = 1 << 13;

/// What follows a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Next {
    /// The most probable token that is not banned.
    pub best: i64,
    /// Log-probability of each token asked about, of the raw distribution.
    pub logprobs: Vec<f64>,
}

/// What follows each prompt of each group, and the log-probabilities (nats) of the tokens `ids` there. Prompts of one group should begin alike.
///
/// # Errors
/// When a prompt is empty, holds an id outside the vocabulary or exceeds the context, an id is outside the vocabulary, or the model computes
/// NaN.
pub fn next_tokens(model: &Model, groups: &[Vec<Vec<i64>>], ids: &[i64], banned: &[i64]) -> Result<Vec<Vec<Next>>> {
    let _guard = tch::no_grad_guard();
    groups.iter().flatten().try_for_each(|prompt| check_tokens(&model.config, prompt))?;
    if let Some(id) = ids.iter().chain(banned).find(|id| !(0..model.config.vocab_size).contains(*id)) {
        return Err(Error::Input(format!("token id {id} is outside this model's vocabulary of {}", model.config.vocab_size)));
    }
    let asked = Asked { model, ids, banned };
    let mut found = Vec::with_capacity(groups.len());
    for some in parts(groups) {
        found.extend(asked.answer(some)?);
    }
    Ok(found)
}

/// Log-probability of each of `continuations` (token ids, none empty) following each prompt, `[prompts][continuations]`, in nats.
///
/// # Errors
/// When a continuation is empty, and as [`next_tokens`].
pub fn continuation_logprobs(model: &Model, prompts: &[Vec<i64>], continuations: &[Vec<i64>]) -> Result<Vec<Vec<f64>>> {
    if continuations.iter().any(Vec::is_empty) {
        return Err(Error::Input("a continuation holds no token".into()));
    }
    let begun =
        |prompt: &Vec<i64>| continuations.iter().flat_map(|told| (0..told.len()).map(|end| [prompt, &told[..end]].concat())).collect();
    let groups: Vec<Vec<Vec<i64>>> = prompts.iter().map(begun).collect();
    let ids = continuations.concat();
    let found = next_tokens(model, &groups, &ids, &[])?;
    Ok(found.iter().map(|group| totals(group, continuations)).collect())
}

/// Sums over the tokens of each continuation, where the prompts of a group stand in the order of all tokens.
fn totals(group: &[Next], continuations: &[Vec<i64>]) -> Vec<f64> {
    let mut gained = group.iter().enumerate().map(|(place, next)| next.logprobs[place]);
    continuations.iter().map(|told| gained.by_ref().take(told.len()).sum()).collect()
}

/// Runs of groups whose tokens, padded, stay within [`TOKENS`] where a group alone does.
fn parts(groups: &[Vec<Vec<i64>>]) -> Vec<&[Vec<Vec<i64>>]> {
    let longest = groups.iter().flatten().map(Vec::len).max().unwrap_or(1);
    let rows = groups.iter().map(Vec::len).max().unwrap_or(1);
    groups.chunks((TOKENS / (longest * rows).max(1)).max(1)).collect()
}

/// Length of what all prompts of a group begin with, less than the shortest; nothing where there is but one.
fn shared(group: &[Vec<i64>]) -> usize {
    let [first, rest @ ..] = group else { return 0 };
    let alike = |other: &Vec<i64>| first.iter().zip(other).take_while(|(a, b)| a == b).count().min(other.len().saturating_sub(1));
    rest.iter().map(alike).min().unwrap_or(0).min(first.len() - 1)
}

/// What is asked of every prompt.
struct Asked<'a> {
    model: &'a Model,
    ids: &'a [i64],
    banned: &'a [i64],
}

impl Asked<'_> {
    fn answer(&self, groups: &[Vec<Vec<i64>>]) -> Result<Vec<Vec<Next>>> {
        let prefixes: Vec<usize> = groups.iter().map(|group| shared(group)).collect();
        let rest = groups.iter().zip(&prefixes).flat_map(|(group, &prefix)| group.iter().map(move |prompt| prompt[prefix..].to_vec()));
        let rest: Vec<Vec<i64>> = rest.collect();
        let mut all = self.read(&self.hidden(groups, &prefixes, &rest)?)?.into_iter();
        Ok(groups.iter().map(|group| all.by_ref().take(group.len()).collect()).collect())
    }

    /// Hidden states `[R, D]` after the last token of every prompt, whose remainders are `rest`.
    fn hidden(&self, groups: &[Vec<Vec<i64>>], prefixes: &[usize], rest: &[Vec<i64>]) -> Result<Tensor> {
        let (ids, lengths) = pad(rest, self.model)?;
        let length = lengths.iter().copied().max().unwrap_or(0);
        let hidden = if prefixes.iter().all(|&prefix| prefix == 0) {
            self.model.hidden(&ids, &mut self.model.pass(length, Memory::None)?)?
        } else {
            let (cache, prefix_lengths) = self.prefill(groups, prefixes)?;
            self.model.hidden(&ids, &mut self.extend(&cache, groups, &prefix_lengths, length)?)?
        }; // [R, S, D]
        let last = lengths.iter().enumerate().map(|(row, &length)| Ok(hidden.f_get(row as i64)?.f_get(length - 1)?));
        Ok(Tensor::f_stack(&last.collect::<Result<Vec<_>>>()?, 0)?)
    }

    /// A cache of what each group begins with, and its lengths.
    fn prefill(&self, groups: &[Vec<Vec<i64>>], prefixes: &[usize]) -> Result<(Cache, Vec<i64>)> {
        let told: Vec<Vec<i64>> = groups
            .iter()
            .zip(prefixes)
            .map(|(group, &prefix)| group.first().map_or(Vec::new(), |first| first[..prefix].to_vec()))
            .collect();
        let (ids, lengths) = pad(&told, self.model)?;
        let mut cache = Cache::new(&self.model.config, &lengths, 1, 0, self.model.kind(), self.model.device())?;
        let mut pass = self.model.pass(ids.size()[1], Memory::Prefill(&mut cache))?;
        let _kept_in_the_cache = self.model.hidden(&ids, &mut pass)?;
        Ok((cache, lengths))
    }

    /// A pass over remainders of up to `length` tokens, each after what its group begins with.
    fn extend<'c>(&self, cache: &'c Cache, groups: &[Vec<Vec<i64>>], prefixes: &[i64], length: i64) -> Result<Pass<'c>> {
        let model = self.model;
        let of: Vec<i64> = groups.iter().enumerate().flat_map(|(index, group)| group.iter().map(move |_| index as i64)).collect();
        let extension = Extension::new(&of, prefixes, length, model.kind(), model.device())?;
        let limit = model.config.max_position_embeddings - 1;
        let places = of.iter().flat_map(|&group| (0..length).map(move |place| (prefixes[group as usize] + place).min(limit)));
        let positions = Tensor::f_from_slice(&places.collect::<Vec<_>>())?.f_view([of.len() as i64, length])?.f_to(model.device())?;
        let angles = model.rotary.at(&positions)?;
        Ok(Pass { angles, ..model.pass(1, Memory::Extend(cache, extension))? })
    }

    /// The answers that `hidden [R, D]` stand for.
    fn read(&self, hidden: &Tensor) -> Result<Vec<Next>> {
        let distribution = log_softmax(&self.model.logits(hidden)?)?; // [R, V]
        let wanted = Tensor::f_from_slice(self.ids)?.f_to(distribution.device())?;
        let logprobs = Vec::<f64>::try_from(distribution.f_index_select(1, &wanted)?.f_to_kind(Kind::Double)?.f_flatten(0, -1)?)?;
        let banned = Tensor::f_from_slice(self.banned)?.f_to(distribution.device())?;
        let best = Vec::<i64>::try_from(distribution.f_index_fill(1, &banned, f64::NEG_INFINITY)?.f_argmax(-1, false)?)?;
        if bool::try_from(distribution.f_isnan()?.f_any()?)? {
            return Err(non_finite(self.model));
        }
        let of = |row: usize| logprobs[row * self.ids.len()..][..self.ids.len()].to_vec();
        Ok(best.into_iter().enumerate().map(|(row, best)| Next { best, logprobs: of(row) }).collect())
    }
}
