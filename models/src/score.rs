//! Log-probability and entropy of every token of given sequences.

use tch::{Kind, Tensor};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::model::{Memory, Model};

// B batch, S sequence, D hidden, V vocabulary.

/// Logits held at once, in elements (128 MiB of f32).
const CHUNK: i64 = 1 << 25;

/// What the model thought of one sequence, token by token, in nats; the first token has no prediction.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenScores {
    /// Log-probability of each token given those before it.
    pub logprobs: Vec<Option<f64>>,
    /// Entropy of the distribution that predicted it.
    pub entropies: Vec<Option<f64>>,
}

/// Log-probabilities and entropies of the raw distribution (temperature 1, whole vocabulary) for every token of every sequence.
///
/// Sequences of different lengths are padded to one batch; causal attention keeps the padding out of sight.
///
/// # Errors
/// When a sequence is empty, holds an id outside the vocabulary or exceeds the context, and when the model computes NaN.
pub fn score(model: &Model, sequences: &[Vec<i64>]) -> Result<Vec<TokenScores>> {
    let _guard = tch::no_grad_guard();
    sequences.iter().try_for_each(|tokens| check_tokens(&model.config, tokens))?;
    let (ids, _) = pad(sequences, model)?;
    let mut pass = model.pass(ids.size()[1], Memory::None)?;
    let hidden = model.hidden(&ids, &mut pass)?; // [B, S, D]
    sequences
        .iter()
        .enumerate()
        .map(|(row, tokens)| score_row(model, &hidden.f_get(row as i64)?, &ids.f_get(row as i64)?, tokens.len()))
        .collect()
}

/// Log-probability, nats, of every token of every response with nothing before it but `begin`, the id that begins a text; without one the
/// first token's is 0, as if certain (lm-polygraph's `pointwise_mutual_information.py`).
///
/// # Errors
/// As [`score`]; a response may be empty.
pub fn unconditional(model: &Model, responses: &[Vec<i64>], begin: Option<i64>) -> Result<Vec<Vec<f64>>> {
    let sequences: Vec<Vec<i64>> = responses.iter().map(|tokens| begin.into_iter().chain(tokens.iter().copied()).collect()).collect();
    let told: Vec<Vec<i64>> = sequences.iter().filter(|tokens| !tokens.is_empty()).cloned().collect();
    let mut scored = if told.is_empty() { Vec::new() } else { score(model, &told)? }.into_iter();
    let skipped = usize::from(begin.is_some());
    let mut of =
        |tokens: &Vec<i64>| if tokens.is_empty() { Vec::new() } else { scored.next().map_or_else(Vec::new, |scored| scored.logprobs) };
    Ok(sequences.iter().map(|tokens| of(tokens).into_iter().skip(skipped).map(|logprob| logprob.unwrap_or(0.0)).collect()).collect())
}

/// One padded row: `hidden [S, D]`, `ids [S]`, of which the first `length` count.
fn score_row(model: &Model, hidden: &Tensor, ids: &Tensor, length: usize) -> Result<TokenScores> {
    let predicted = length as i64 - 1;
    let step = (CHUNK / model.config.vocab_size).max(1);
    let (mut logprobs, mut entropies) = (vec![None], vec![None]);
    for start in (0..predicted).step_by(step as usize) {
        let count = step.min(predicted - start);
        let distribution = log_softmax(&model.logits(&hidden.f_narrow(0, start, count)?)?)?; // [count, V]
        let targets = ids.f_narrow(0, start + 1, count)?.f_unsqueeze(1)?;
        logprobs.extend(finite(model, &distribution.f_gather(1, &targets, false)?.f_squeeze_dim(1)?)?);
        entropies.extend(finite(model, &entropy(&distribution)?)?);
    }
    Ok(TokenScores { logprobs, entropies })
}

/// `log_softmax` over the last dimension, in f32.
pub(crate) fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    Ok(logits.f_log_softmax(-1, Kind::Float)?)
}

/// Shannon entropy in nats of log-probabilities `[.., V]`.
pub(crate) fn entropy(logprobs: &Tensor) -> Result<Tensor> {
    Ok(logprobs.f_exp()?.f_mul(logprobs)?.f_sum_dim_intlist([-1].as_slice(), false, Kind::Float)?.f_neg()?)
}

fn finite(model: &Model, values: &Tensor) -> Result<Vec<Option<f64>>> {
    let values = Vec::<f64>::try_from(values.f_to_kind(Kind::Double)?)?;
    if values.iter().all(|value| value.is_finite()) {
        return Ok(values.into_iter().map(Some).collect());
    }
    Err(non_finite(model))
}

/// The error for NaN or infinity in the output, naming the weights at fault where there are any.
pub(crate) fn non_finite(model: &Model) -> Error {
    let sick = |tensor: &Tensor| matches!(tensor.f_isfinite().and_then(|all| all.f_all()).and_then(bool::try_from), Ok(false));
    match model.parameters().into_iter().find(|parameter| sick(&parameter.tensor)) {
        Some(parameter) => Error::NonFinite(format!("tensor {} holds NaN or infinity", parameter.name)),
        None => Error::NonFinite("the model computed NaN or infinity from finite weights; compute in f32".into()),
    }
}

/// Refuses what would read outside the embedding or the rotary tables.
///
/// # Errors
/// When there is no token, an id is outside the vocabulary, or the tokens exceed the context.
pub fn check_tokens(config: &Config, tokens: &[i64]) -> Result<()> {
    let (vocabulary, limit) = (config.vocab_size, config.max_position_embeddings);
    if tokens.is_empty() {
        return Err(Error::Input("the input holds no token".into()));
    }
    if let Some(id) = tokens.iter().find(|id| !(0..vocabulary).contains(*id)) {
        return Err(Error::Input(format!("token id {id} is outside this model's vocabulary of {vocabulary}")));
    }
    if tokens.len() as i64 > limit {
        return Err(Error::Input(format!("the input has {} tokens, this model's context holds {limit}", tokens.len())));
    }
    Ok(())
}

/// Refuses a model whose experts choose their tokens among all at hand: what it says of a token depends on tokens after it, so that its
/// log-probabilities are no predictions and what it generates is not what it was trained to. [`score`] and
/// [`generate`](crate::generate::generate) run it all the same; whoever asks on a user's behalf asks here first.
///
/// # Errors
/// When the gate is one of expert choice.
pub fn check_causal(config: &Config) -> Result<()> {
    match config.moe.as_ref().map(|moe| moe.gate).filter(|gate| gate.is_expert_choice()) {
        None => Ok(()),
        Some(gate) => {
            Err(Error::Input(format!("gate {} lets experts choose among all tokens, later ones too: not a causal model", gate.name())))
        }
    }
}

/// Right-padded ids `[B, S]` on the model's device, and the lengths.
pub(crate) fn pad(sequences: &[Vec<i64>], model: &Model) -> Result<(Tensor, Vec<i64>)> {
    let longest = sequences.iter().map(Vec::len).max().unwrap_or(0);
    let mut flat = Vec::with_capacity(sequences.len() * longest);
    for tokens in sequences {
        flat.extend_from_slice(tokens);
        flat.resize(flat.len() + longest - tokens.len(), 0);
    }
    let ids = Tensor::f_from_slice(&flat)?.f_view([sequences.len() as i64, longest as i64])?.f_to(model.device())?;
    Ok((ids, sequences.iter().map(|tokens| tokens.len() as i64).collect()))
}
