//! The distributions of one step, on the host.

use tch::{Kind, Tensor};

use super::{Options, Trace};
use crate::error::Result;
use crate::model::Model;
use crate::observe::{Divergences, divergences};
use crate::score::{entropy, log_softmax, non_finite};

// R rows, V vocabulary, k alternatives.

/// One step's raw distributions on the host.
pub(super) struct View {
    logits: Vec<f32>,      // [R, V]
    normalisers: Vec<f64>, // [R], log of the sum of exp
    entropies: Vec<f64>,   // [R]
    divergences: Divergences,
    top: Vec<(i64, f64)>, // [R, k]
    vocabulary: usize,
    alternatives: usize,
}

impl View {
    pub(super) fn new(model: &Model, logits: &Tensor, options: &Options) -> Result<Self> {
        let logits = logits.f_to_kind(Kind::Float)?; // [R, V]
        let distribution = log_softmax(&logits)?;
        let entropies = Vec::<f64>::try_from(entropy(&distribution)?.f_to_kind(Kind::Double)?)?;
        if entropies.iter().any(|entropy| !entropy.is_finite()) {
            return Err(non_finite(model));
        }
        let vocabulary = model.config.vocab_size as usize;
        let alternatives = options.top_logprobs.min(vocabulary);
        let (values, ids) = distribution.f_topk(alternatives as i64, -1, true, true)?;
        let values = Vec::<f64>::try_from(values.f_to_kind(Kind::Double)?.f_flatten(0, -1)?)?;
        let top = Vec::<i64>::try_from(ids.f_flatten(0, -1)?)?.into_iter().zip(values).collect();
        let normalisers = Vec::<f64>::try_from(logits.f_logsumexp([-1].as_slice(), false)?.f_to_kind(Kind::Double)?)?;
        let divergences = if options.observe.distribution { divergences(&logits)? } else { Divergences::default() };
        let logits = Vec::<f32>::try_from(logits.f_contiguous()?.f_flatten(0, -1)?)?;
        Ok(Self { logits, normalisers, entropies, divergences, top, vocabulary, alternatives })
    }

    /// Logits of one row.
    pub(super) fn row(&self, index: usize) -> &[f32] {
        &self.logits[index * self.vocabulary..][..self.vocabulary]
    }

    /// Records `token`, chosen from row `index`.
    pub(super) fn record(&self, index: usize, token: i64, trace: &mut Trace) {
        trace.tokens.push(token);
        trace.logprobs.push(f64::from(self.row(index)[token as usize]) - self.normalisers[index]);
        trace.entropies.push(self.entropies[index]);
        trace.top_logprobs.push(self.top[index * self.alternatives..][..self.alternatives].to_vec());
        trace.divergences.self_certainties.extend(self.divergences.self_certainties.get(index));
        trace.divergences.renyi.extend(self.divergences.renyi.get(index));
    }
}
