//! The end of a step-0 report: logits of both models, a few tokens and a few rows of the head at a time.

use tch::{Kind, Tensor};

use super::report::LogitsReport;
use crate::convert::Result;
use crate::layerwise::Layerwise;

// T tokens, D hidden, V vocabulary.

/// Logits held at once per model, in elements (64 MiB of f32).
const LOGITS: i64 = 1 << 24;
/// Weights of the head converted at once, in elements (64 MiB of f32).
const ROWS: i64 = 1 << 24;

/// Compares what both models predict at every position.
pub(super) fn compare(dense: &Layerwise, upcycled: &Layerwise, sequences: &[Vec<i64>]) -> Result<LogitsReport> {
    let (from, to) = (dense.normed()?, upcycled.normed()?); // [T, D]
    let targets = targets(sequences)?; // [T]
    let tokens = from.size()[0];
    let step = (LOGITS / dense.checkpoint.config.vocab_size).clamp(1, tokens);
    let mut sums = Sums::default();
    for start in (0..tokens).step_by(step as usize) {
        let count = step.min(tokens - start);
        let a = logits(dense, &from.f_narrow(0, start, count)?)?; // [count, V]
        let b = logits(upcycled, &to.f_narrow(0, start, count)?)?;
        sums.add(&a, &b, &targets.f_narrow(0, start, count)?)?;
    }
    sums.report()
}

/// The token after each token, -1 after the last of a sequence.
fn targets(sequences: &[Vec<i64>]) -> Result<Tensor> {
    let next: Vec<i64> = sequences.iter().flat_map(|tokens| tokens[1..].iter().copied().chain([-1])).collect();
    Ok(Tensor::f_from_slice(&next)?)
}

/// Logits `[T, V]` in f32 of normed `hidden [T, D]`; the head is read in groups of rows.
fn logits(side: &Layerwise, hidden: &Tensor) -> Result<Tensor> {
    let config = &side.checkpoint.config;
    let name = if config.tie_word_embeddings { "model.embed_tokens.weight" } else { "lm_head.weight" };
    // SAFETY: every group is used up while the checkpoint is borrowed.
    let head = unsafe { side.checkpoint.view(name)? }; // [V, D]
    let step = (ROWS / config.hidden_size).max(1);
    let mut parts = Vec::new();
    for start in (0..config.vocab_size).step_by(step as usize) {
        let rows = head.f_narrow(0, start, step.min(config.vocab_size - start))?.f_to_kind(Kind::Float)?;
        parts.push(hidden.f_linear(&rows, None::<&Tensor>)?);
        side.checkpoint.release(name)?;
    }
    Ok(Tensor::f_cat(&parts, -1)?)
}

/// Running sums over tokens, in f64.
#[derive(Default)]
struct Sums {
    tokens: i64,
    predicted: i64,
    loss: [f64; 2],
    divergence: f64,
    largest: f64,
    apart: f64,
    dense: f64,
}

impl Sums {
    /// `a`, `b` `[T, V]`: logits of the dense and the upcycled model; `targets [T]`, -1 = nothing to predict.
    fn add(&mut self, a: &Tensor, b: &Tensor, targets: &Tensor) -> Result<()> {
        let apart = b.f_sub(a)?;
        self.largest = f64::max(self.largest, f64::try_from(apart.f_abs()?.f_max()?)?);
        self.apart += f64::try_from(apart.f_norm()?)?.powi(2);
        self.dense += f64::try_from(a.f_norm()?)?.powi(2);
        let (a, b) = (a.f_log_softmax(-1, Kind::Float)?, b.f_log_softmax(-1, Kind::Float)?);
        self.divergence += f64::try_from(a.f_exp()?.f_mul(&a.f_sub(&b)?)?.f_sum(Kind::Double)?)?;
        let predicted = targets.f_ge(0)?;
        for (loss, logprobs) in self.loss.iter_mut().zip([&a, &b]) {
            let told = logprobs.f_gather(1, &targets.f_clamp_min(0)?.f_unsqueeze(1)?, false)?.f_squeeze_dim(1)?;
            *loss -= f64::try_from(told.f_mul(&predicted)?.f_sum(Kind::Double)?)?;
        }
        self.tokens += targets.size()[0];
        self.predicted += i64::try_from(predicted.f_sum(Kind::Int64)?)?;
        Ok(())
    }

    fn report(&self) -> Result<LogitsReport> {
        let [dense_loss, upcycled_loss] = self.loss.map(|sum| sum / self.predicted as f64);
        let report = LogitsReport {
            dense_loss,
            upcycled_loss,
            divergence: (self.divergence / self.tokens as f64).max(0.0), // never negative but for rounding
            max_abs_error: self.largest,
            relative_error: if self.apart == 0.0 { 0.0 } else { (self.apart / self.dense).sqrt() },
        };
        let finite = report.relative_error.is_finite() && dense_loss.is_finite() && upcycled_loss.is_finite();
        let sentence = || coppice_models::Error::NonFinite("step 0: a model computed NaN or infinity from finite weights".into());
        if finite { Ok(report) } else { Err(sentence().into()) }
    }
}
