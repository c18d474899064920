//! Log-probabilities of continuations: what many contexts begin with (examples, instructions) is run once, and the rest of each is a row of a
//! batch that attends to it.

use tch::{Kind, Tensor};

use crate::cache::{Cache, Extension};
use crate::error::{Error, Result};
use crate::model::{Memory, Model, Pass};
use crate::score::{check_tokens, log_softmax, non_finite, pad};

// R rows, P prefix length, S longest row, D hidden, V vocabulary, N scored tokens.

/// Tokens run at a time, those of the prefix that every row attends to counted in part.
const TOKENS: usize = 1 << 13;
/// A prefix token beside a row costs attention alone.
const PREFIX_SHARE: usize = 8;
/// Logits held at once, in elements (128 MiB of f32).
const CHUNK: i64 = 1 << 25;

/// The rest of a context and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Tokens after the prefix: at least one of the context, then those of the continuation.
    pub tokens: Vec<i64>,
    /// How many of the last tokens are the continuation.
    pub scored: usize,
}

/// What a model thought of a continuation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Continued {
    /// Sum of the log-probabilities of its tokens, nats.
    pub logprob: f64,
    /// Whether each of its tokens was the most probable one.
    pub greedy: bool,
}

/// A model that has read what the contexts begin with.
#[derive(Debug)]
pub struct Begun<'m> {
    model: &'m Model,
    cache: Option<Cache>,
    length: i64,
}

impl<'m> Begun<'m> {
    /// Runs the prefix, which may be empty.
    ///
    /// # Errors
    /// When it holds an id outside the vocabulary or exceeds the context.
    pub fn new(model: &'m Model, prefix: &[i64]) -> Result<Self> {
        let _guard = tch::no_grad_guard();
        let length = prefix.len() as i64;
        if prefix.is_empty() {
            return Ok(Self { model, cache: None, length });
        }
        check_tokens(&model.config, prefix)?;
        let (ids, lengths) = pad(&[prefix.to_vec()], model)?;
        let mut cache = Cache::new(&model.config, &lengths, 1, 0, model.kind(), model.device())?;
        let mut pass = model.pass(length, Memory::Prefill(&mut cache))?;
        let _kept_in_the_cache = model.hidden(&ids, &mut pass)?;
        Ok(Self { model, cache: Some(cache), length })
    }

    /// Scores each row, in order; rows of similar length run side by side.
    ///
    /// # Errors
    /// When a row leaves nothing of its context or scores nothing, holds an id outside the vocabulary, exceeds the context together with the
    /// prefix, and when the model computes NaN.
    pub fn continued(&self, rows: &[Row]) -> Result<Vec<Continued>> {
        let _guard = tch::no_grad_guard();
        rows.iter().try_for_each(|row| self.check(row))?;
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&row| std::cmp::Reverse(rows[row].tokens.len()));
        let mut found = vec![Continued { logprob: 0.0, greedy: true }; rows.len()];
        let mut left = order.as_slice();
        while let Some(&longest) = left.first() {
            let beside = rows[longest].tokens.len() + self.length as usize / PREFIX_SHARE;
            let (some, others) = left.split_at((TOKENS / beside).clamp(1, left.len()));
            let batch: Vec<&Row> = some.iter().map(|&row| &rows[row]).collect();
            some.iter().zip(self.batch(&batch)?).for_each(|(&row, continued)| found[row] = continued);
            left = others;
        }
        Ok(found)
    }

    fn check(&self, row: &Row) -> Result<()> {
        check_tokens(&self.model.config, &row.tokens)?;
        if row.scored == 0 || row.scored >= row.tokens.len() {
            let (scored, given) = (row.scored, row.tokens.len());
            return Err(Error::Input(format!("a row of {given} tokens cannot score {scored}: expected one at least, and one before it")));
        }
        let (length, limit) = (self.length + row.tokens.len() as i64, self.model.config.max_position_embeddings);
        if length > limit {
            return Err(Error::Input(format!("prefix and row have {length} tokens, this model's context holds {limit}")));
        }
        Ok(())
    }

    fn batch(&self, rows: &[&Row]) -> Result<Vec<Continued>> {
        let tokens: Vec<Vec<i64>> = rows.iter().map(|row| row.tokens.clone()).collect();
        let (ids, lengths) = pad(&tokens, self.model)?; // [R, S]
        let hidden = self.model.hidden(&ids, &mut self.pass(&lengths)?)?; // [R, S, D]
        let (width, depth) = (ids.size()[1], hidden.size()[2]);
        let places = rows.iter().enumerate().flat_map(|(index, row)| {
            let end = index as i64 * width + row.tokens.len() as i64;
            end - row.scored as i64..end
        });
        let places: Vec<i64> = places.collect(); // of the scored tokens in the flattened batch
        let targets = Tensor::f_from_slice(&places)?.f_to(self.model.device())?; // [N]
        let targets_ids = ids.f_flatten(0, 1)?.f_index_select(0, &targets)?;
        let before = hidden.f_view([-1, depth])?.f_index_select(0, &targets.f_sub_scalar(1)?)?; // [N, D]
        self.read(&before, &targets_ids, rows)
    }

    fn pass(&self, lengths: &[i64]) -> Result<Pass<'_>> {
        let (model, rows, length) = (self.model, lengths.len() as i64, lengths.iter().copied().max().unwrap_or(0));
        let Some(cache) = &self.cache else { return model.pass(length, Memory::None) };
        let extension = Extension::new(&vec![0; lengths.len()], &[self.length], length, model.kind(), model.device())?;
        let limit = model.config.max_position_embeddings - 1;
        let positions: Vec<i64> = (0..length).map(|place| (self.length + place).min(limit)).collect();
        let positions = Tensor::f_from_slice(&positions)?.f_view([1, length])?.f_expand([rows, length], false)?.f_to(model.device())?;
        Ok(Pass { angles: model.rotary.at(&positions)?, ..model.pass(1, Memory::Extend(cache, extension))? })
    }

    /// Sums over each row's scored tokens, given the states `[N, D]` that predict them and their ids `[N]`.
    fn read(&self, before: &Tensor, targets: &Tensor, rows: &[&Row]) -> Result<Vec<Continued>> {
        let (mut logprobs, mut greedy) = (Vec::new(), Vec::new());
        let step = (CHUNK / self.model.config.vocab_size).max(1);
        let count = targets.size()[0];
        for start in (0..count).step_by(step as usize) {
            let length = step.min(count - start);
            let distribution = log_softmax(&self.model.logits(&before.f_narrow(0, start, length)?)?)?;
            let ids = targets.f_narrow(0, start, length)?;
            let gained = distribution.f_gather(1, &ids.f_unsqueeze(1)?, false)?.f_squeeze_dim(1)?;
            logprobs.extend(Vec::<f64>::try_from(gained.f_to_kind(Kind::Double)?)?);
            greedy.extend(Vec::<bool>::try_from(distribution.f_argmax(-1, false)?.f_eq_tensor(&ids)?)?);
        }
        if logprobs.iter().any(|logprob| logprob.is_nan()) {
            return Err(non_finite(self.model));
        }
        let mut tokens = logprobs.into_iter().zip(greedy);
        let of = |row: &&Row| {
            tokens.by_ref().take(row.scored).fold(Continued { logprob: 0.0, greedy: true }, |sum, (logprob, best)| Continued {
                logprob: sum.logprob + logprob,
                greedy: sum.greedy && best,
            })
        };
        Ok(rows.iter().map(of).collect())
    }
}
