//! Probabilities of given answers to a prompt: one prefill, all answers told to the model as one batch.

use tch::{Kind, Tensor};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::generate::prefill;
use crate::model::Model;
use crate::score::{check_tokens, log_softmax, non_finite, pad};

// N candidates, T longest candidate, D hidden, V vocabulary.

/// Log-probability of each of `candidates` (token ids, none empty) following `prompt`, in nats.
///
/// # Errors
/// When the prompt or a candidate is empty, holds an id outside the vocabulary, or both together exceed the context.
pub fn candidate_logprobs(model: &Model, prompt: &[i64], candidates: &[Vec<i64>]) -> Result<Vec<f64>> {
    let _guard = tch::no_grad_guard();
    let (config, device) = (&model.config, model.device());
    [prompt].into_iter().chain(candidates.iter().map(Vec::as_slice)).try_for_each(|tokens| check_tokens(config, tokens))?;
    let (ids, lengths) = pad(candidates, model)?; // [N, T]
    let longest = ids.size()[1];
    if prompt.len() as i64 + longest > config.max_position_embeddings {
        return Err(Error::Input(format!(
            "prompt and candidate together exceed this model's context of {}",
            config.max_position_embeddings
        )));
    }
    let rows = candidates.len() as i64;
    let mut cache = Cache::new(config, &[prompt.len() as i64], rows, longest, model.kind(), device)?;
    let (told, told_lengths) = pad(&[prompt.to_vec()], model)?;
    let mut hidden = prefill(model, &told, &told_lengths, &mut cache)?.f_expand([rows, -1], false)?; // [N, D]
    let counts = Tensor::f_from_slice(&lengths)?.f_to(device)?;
    let mut total = Tensor::f_zeros([rows], (Kind::Double, device))?;
    for step in 0..longest {
        let column = ids.f_select(1, step)?; // [N]
        let gained = log_softmax(&model.logits(&hidden)?)?.f_gather(1, &column.f_unsqueeze(1)?, false)?.f_squeeze_dim(1)?;
        let counted = counts.f_gt(step)?;
        total = total.f_add(&gained.f_to_kind(Kind::Double)?.f_where_self(&counted, &total.f_zeros_like()?)?)?;
        if step + 1 < longest {
            hidden = model.decode(&column, &mut cache)?.f_squeeze_dim(1)?;
        }
    }
    let total = Vec::<f64>::try_from(total)?;
    if total.iter().any(|value| value.is_nan()) { Err(non_finite(model)) } else { Ok(total) }
}
