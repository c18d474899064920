//! Log-probabilities of continuations: what many contexts begin with (examples, instructions) is run once, the rest of a context once for all
//! its continuations, and each continuation as a branch of its row that the other branches do not see.

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

/// The rest of a context, and what may follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Tokens after the prefix, at least one.
    pub context: Vec<i64>,
    /// What may follow, at least one token each.
    pub continuations: Vec<Vec<i64>>,
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
    cache: Cache,
    length: i64,
}

impl Row {
    /// Tokens that are run: the last of a continuation is only looked up.
    pub fn len(&self) -> usize {
        self.context.len() + self.continuations.iter().map(|tokens| tokens.len().saturating_sub(1)).sum::<usize>()
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn scored(&self) -> usize {
        self.continuations.iter().map(Vec::len).sum()
    }

    /// Whether more than one continuation has tokens that are run.
    fn branches(&self) -> bool {
        self.continuations.iter().filter(|tokens| tokens.len() > 1).count() > 1
    }
}

/// A row laid out: context, then each continuation without its last token.
#[derive(Debug, Default)]
struct Layout {
    tokens: Vec<i64>,
    /// 0 in the context, then the continuation's number from 1.
    branches: Vec<i64>,
    /// Positions from the end of the prefix.
    positions: Vec<i64>,
    /// Where the state stands that predicts each scored token, and that token.
    scored: Vec<(i64, i64)>,
}

impl Layout {
    fn of(row: &Row) -> Self {
        let context = row.context.len();
        let (branches, positions) = (vec![0; context], (0..context as i64).collect());
        let mut layout = Self { tokens: row.context.clone(), branches, positions, scored: Vec::with_capacity(row.scored()) };
        for (number, continuation) in (1..).zip(&row.continuations) {
            layout.add(context as i64, number, continuation);
        }
        layout
    }

    fn add(&mut self, context: i64, number: i64, continuation: &[i64]) {
        let start = self.tokens.len() as i64;
        for (index, &token) in (0..).zip(continuation) {
            self.scored.push((if index == 0 { context - 1 } else { start + index - 1 }, token));
        }
        let run = continuation.len().saturating_sub(1);
        self.tokens.extend_from_slice(&continuation[..run]);
        self.branches.extend(vec![number; run]);
        self.positions.extend(context..context + run as i64);
    }
}

impl<'m> Begun<'m> {
    /// Runs the prefix, which may be empty.
    ///
    /// # Errors
    /// When it holds an id outside the vocabulary or exceeds the context.
    pub fn new(model: &'m Model, prefix: &[i64]) -> Result<Self> {
        let _guard = tch::no_grad_guard();
        let length = prefix.len() as i64;
        let mut cache = Cache::new(&model.config, &[length], 1, 0, model.kind(), model.device())?;
        if prefix.is_empty() {
            let shape = [1, model.config.num_key_value_heads, 0, model.config.head_dim()];
            let nothing = Tensor::f_zeros(shape, (model.kind(), model.device()))?;
            (0..model.layers.len()).for_each(|layer| cache.store_prefix(layer, &nothing, &nothing));
            return Ok(Self { model, cache, length });
        }
        check_tokens(&model.config, prefix)?;
        let (ids, _) = pad(&[prefix.to_vec()], model)?;
        let mut pass = model.pass(length, Memory::Prefill(&mut cache))?;
        let _kept_in_the_cache = model.hidden(&ids, &mut pass)?;
        Ok(Self { model, cache, length })
    }

    /// Scores each continuation of each row, in order, `[rows][continuations]`; rows of similar length run side by side.
    ///
    /// # Errors
    /// When a row has no context or an empty continuation, holds an id outside the vocabulary, exceeds the context together with the prefix (by
    /// more than the last token, which is not run), and when the model computes NaN.
    pub fn continued(&self, rows: &[Row]) -> Result<Vec<Vec<Continued>>> {
        let _guard = tch::no_grad_guard();
        rows.iter().try_for_each(|row| self.check(row))?;
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&row| std::cmp::Reverse(rows[row].len()));
        let mut found = vec![Vec::new(); rows.len()];
        let mut left = order.as_slice();
        while let Some(&longest) = left.first() {
            let beside = rows[longest].len() + self.length as usize / PREFIX_SHARE;
            let (some, others) = left.split_at((TOKENS / beside).clamp(1, left.len()));
            let batch: Vec<&Row> = some.iter().map(|&row| &rows[row]).collect();
            some.iter().zip(self.batch(&batch)?).for_each(|(&row, continued)| found[row] = continued);
            left = others;
        }
        Ok(found)
    }

    fn check(&self, row: &Row) -> Result<()> {
        let limit = self.model.config.max_position_embeddings;
        if row.context.is_empty() || row.continuations.iter().any(Vec::is_empty) {
            return Err(Error::Input("a row needs at least one token of context, and each of its continuations one token".into()));
        }
        let foreign = |id: &&i64| !(0..self.model.config.vocab_size).contains(*id);
        if let Some(id) = row.context.iter().chain(row.continuations.iter().flatten()).find(foreign) {
            return Err(Error::Input(format!("token id {id} is outside this model's vocabulary of {}", self.model.config.vocab_size)));
        }
        let longest = row.continuations.iter().map(Vec::len).max().unwrap_or(1);
        let length = self.length + (row.context.len() + longest) as i64 - 1;
        if length > limit {
            return Err(Error::Input(format!("prefix and row have {length} tokens, this model's context holds {limit}")));
        }
        Ok(())
    }

    fn batch(&self, rows: &[&Row]) -> Result<Vec<Vec<Continued>>> {
        let layouts: Vec<Layout> = rows.iter().map(|row| Layout::of(row)).collect();
        let tokens: Vec<Vec<i64>> = layouts.iter().map(|layout| layout.tokens.clone()).collect();
        let (ids, _) = pad(&tokens, self.model)?; // [R, S]
        let hidden = self.model.hidden(&ids, &mut self.pass(&layouts, rows, ids.size()[1])?)?; // [R, S, D]
        let (width, depth) = (ids.size()[1], hidden.size()[2]);
        let scored: Vec<(i64, i64)> =
            (0..).zip(&layouts).flat_map(|(row, layout)| layout.scored.iter().map(move |&(place, id)| (row * width + place, id))).collect();
        let (places, targets): (Vec<i64>, Vec<i64>) = scored.into_iter().unzip();
        let on_device = |values: &[i64]| -> Result<Tensor> { Ok(Tensor::f_from_slice(values)?.f_to(self.model.device())?) };
        let before = hidden.f_view([-1, depth])?.f_index_select(0, &on_device(&places)?)?; // [N, D]
        self.read(&before, &on_device(&targets)?, rows)
    }

    /// A pass over rows laid out to `width` tokens; without prefix and branches it is that of plain sequences.
    fn pass(&self, layouts: &[Layout], rows: &[&Row], width: i64) -> Result<Pass<'_>> {
        let (model, count) = (self.model, layouts.len());
        if self.length == 0 && !rows.iter().any(|row| row.branches()) {
            return model.pass(width, Memory::None);
        }
        let padded = |of: &dyn Fn(&Layout) -> &Vec<i64>| -> Result<Tensor> {
            let rows: Vec<Vec<i64>> = layouts.iter().map(|layout| of(layout).clone()).collect();
            Ok(pad(&rows, model)?.0)
        };
        let branches = padded(&|layout| &layout.branches)?; // padding counts as stem: it comes last, and nobody sees it
        let extension = Extension::branching(&vec![0; count], &[self.length], &branches, model.kind())?;
        let positions = padded(&|layout| &layout.positions)?.f_add_scalar(self.length)?;
        let positions = positions.f_clamp_max(model.config.max_position_embeddings - 1)?;
        Ok(Pass { angles: model.rotary.at(&positions)?, ..model.pass(1, Memory::Extend(&self.cache, extension))? })
    }

    /// Sums over each continuation's tokens, given the states `[N, D]` that predict them and their ids `[N]`.
    fn read(&self, before: &Tensor, targets: &Tensor, rows: &[&Row]) -> Result<Vec<Vec<Continued>>> {
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
        let mut of = |continuation: &Vec<i64>| {
            tokens.by_ref().take(continuation.len()).fold(Continued { logprob: 0.0, greedy: true }, |sum, (logprob, best)| Continued {
                logprob: sum.logprob + logprob,
                greedy: sum.greedy && best,
            })
        };
        Ok(rows.iter().map(|row| row.continuations.iter().map(&mut of).collect()).collect())
    }
}
