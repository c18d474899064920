//! What the experts of a routed model became, measured on text: who is busy, who goes with whom, who looks like whom, who takes what.
//!
//! Definitions: OLMoE (arXiv 2409.02060, section 5). The model runs a bounded number of tokens at a time; counts are integers or
//! f64, so that the report does not hang on the batch size. See `run` for the pass, `tally` for the counts, `similarity` for the weights.

mod check;
mod documents;
pub(crate) mod notes;
pub mod report;
mod run;
pub(crate) mod similarity;
mod tally;
pub mod trend;
mod vocabulary;
mod words;

use std::sync::atomic::{AtomicBool, Ordering};

use coppice_models::model::FeedForward;
use coppice_models::{Checkpoint, Model, MoeConfig};

use self::check::check_subject;
pub use self::check::{check_parent, check_reference, routed};
pub use self::documents::{Document, read};
use self::documents::{Piece, domains, pieces};
use self::report::{ExpertReport, LayerExperts};
use self::run::{Batch, Observed, batches, predicted};
use self::tally::{Seen, Tally};
use crate::convert::{ConvertError, Result};

/// Tokens run at once when the caller has no wish.
pub const BATCH_TOKENS: usize = 8192;

/// What is inspected, and what it is held against.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The routed model.
    pub model: &'a Model,
    /// A model of the same shape (an earlier or later checkpoint), for saturation.
    pub reference: Option<&'a Model>,
    /// The dense checkpoint it grew from, for the similarity to it.
    pub dense: Option<&'a Checkpoint>,
}

/// How it is inspected and told.
pub struct Settings<'a> {
    /// The model's name in the report.
    pub name: String,
    /// What the text is, in words.
    pub text: String,
    /// Tokens run at once, padding included.
    pub batch_tokens: usize,
    /// The text of an id.
    pub token: &'a dyn Fn(u32) -> String,
}

/// Measures the experts of a model on documents. `progress` is told the batches done and their number.
///
/// # Errors
/// One sentence for a dense model, a reference or parent of another shape, text without tokens, NaN, and
/// [`ConvertError::Interrupted`] soon after `interrupted` is raised.
pub fn inspect(
    subject: &Subject,
    documents: &[Document],
    settings: &Settings,
    progress: &mut dyn FnMut(usize, usize),
    interrupted: &AtomicBool,
) -> Result<ExpertReport> {
    let _guard = tch::no_grad_guard();
    let moe = check_subject(subject)?;
    let names = domains(documents);
    let pieces = pieces(documents, &names, &subject.model.config)?;
    let mut tallies = moe.layers.iter().map(|&layer| Tally::new(layer, moe.num_experts, names.len())).collect::<Result<Vec<_>>>()?;
    run_all(subject, &pieces, settings.batch_tokens, progress, interrupted, |batch| add(subject, moe, batch, &mut tallies))?;
    let sizes = sizes(&names, &pieces);
    let layers = tallies.iter().map(|tally| tally.report(&sizes, settings.token)).collect::<Result<_>>()?;
    let layers = compare_weights(subject, moe, layers, interrupted)?;
    Ok(told(subject, moe, settings, &pieces, layers))
}

/// Hands every batch of the pieces to `each`.
fn run_all(
    subject: &Subject,
    pieces: &[Piece],
    batch_tokens: usize,
    progress: &mut dyn FnMut(usize, usize),
    interrupted: &AtomicBool,
    mut each: impl FnMut(&Batch) -> Result<()>,
) -> Result<()> {
    let alone = routed(&subject.model.config)?.gate.is_expert_choice();
    let batches = batches(pieces, batch_tokens, alone);
    for (done, batch) in batches.iter().enumerate() {
        stop_if(interrupted)?;
        each(&Batch::new(batch, subject.model.device())?)?;
        progress(done + 1, batches.len());
    }
    Ok(())
}

/// Runs one batch through the model, and the reference where there is one.
fn add(subject: &Subject, moe: &MoeConfig, batch: &Batch, tallies: &mut [Tally]) -> Result<()> {
    let (hidden, observed) = batch.run(subject.model)?;
    let output = predicted(subject.model, &hidden)?;
    let reference = subject.reference.map(|model| batch.run(model)).transpose()?.map(|(_, observed)| observed);
    for (place, (tally, Observed { chosen, logits })) in tallies.iter_mut().zip(&observed).enumerate() {
        let reference = reference.as_ref().map(|layers| &layers[place].chosen);
        let seen = Seen { chosen, reference, logits, ids: [&batch.input, &output], domains: batch.domains.as_ref() };
        tally.add(&seen, moe.gate)?;
    }
    Ok(())
}

/// The report of what was counted and compared.
fn told(subject: &Subject, moe: &MoeConfig, settings: &Settings, pieces: &[Piece], layers: Vec<LayerExperts>) -> ExpertReport {
    let tokens = pieces.iter().map(|piece| piece.tokens.len() as u64).sum();
    ExpertReport {
        arm: settings.name.clone(),
        label: String::new(),
        seed: notes::seed(moe),
        experts: moe.num_experts as usize,
        experts_per_token: moe.experts_per_token as usize,
        tokens,
        text: settings.text.clone(),
        layers,
        over_training: Vec::new(),
        notes: notes::notes(&subject.model.config, moe, tokens, subject.dense.is_some()),
    }
}

/// Share of the assignments of every expert, layer by layer `[layers][N]`, and nothing else.
///
/// # Errors
/// As [`inspect`].
pub fn loads(model: &Model, documents: &[Document], interrupted: &AtomicBool) -> Result<Vec<Vec<f64>>> {
    let subject = Subject { model, reference: None, dense: None };
    let moe = check_subject(&subject)?;
    let _guard = tch::no_grad_guard();
    let pieces = pieces(documents, &[], &model.config)?;
    let mut counts = vec![vec![0; moe.num_experts as usize]; moe.layers.len()];
    run_all(&subject, &pieces, BATCH_TOKENS, &mut |_, _| {}, interrupted, |batch| {
        for (counts, seen) in counts.iter_mut().zip(batch.run(model)?.1) {
            counts.iter_mut().zip(seen.counts()?).for_each(|(count, more)| *count += more);
        }
        Ok(())
    })?;
    let shares = |counts: &Vec<i64>| counts.iter().map(|&count| count as f64 / counts.iter().sum::<i64>() as f64).collect();
    Ok(counts.iter().map(shares).collect())
}

/// Names and tokens of the domains.
fn sizes(names: &[String], pieces: &[Piece]) -> Vec<(String, u64)> {
    let tokens = |index| pieces.iter().filter(|piece| piece.domain == Some(index)).map(|piece| piece.tokens.len() as u64).sum();
    names.iter().enumerate().map(|(index, name)| (name.clone(), tokens(index))).collect()
}

/// Adds the similarities of the experts' weights to every layer.
fn compare_weights(
    subject: &Subject,
    config: &MoeConfig,
    layers: Vec<LayerExperts>,
    interrupted: &AtomicBool,
) -> Result<Vec<LayerExperts>> {
    let compare = |layer: LayerExperts| {
        stop_if(interrupted)?;
        let FeedForward::Moe(moe) = &subject.model.layers[layer.layer].mlp else { return Ok(layer) };
        let found = similarity::measure(moe, config, layer.layer, subject.dense)?;
        Ok(LayerExperts { similarity: found.pairs, parent_similarity: found.parent, ..layer })
    };
    layers.into_iter().map(compare).collect()
}

fn stop_if(interrupted: &AtomicBool) -> Result<()> {
    if interrupted.load(Ordering::Relaxed) { Err(ConvertError::Interrupted) } else { Ok(()) }
}
