//! The stages before any comparison: tokenizer, tokens of the world's passes, the dense model, its upcycling.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use coppice_models::fs::write_atomic;
use coppice_models::init::Random;
use coppice_models::{Checkpoint, Config, Model};
use coppice_upcycle::card;
use coppice_upcycle::convert::{ConvertError, Sources, upcycle as convert};
use coppice_upcycle::corpus::tokenize_documents;
use coppice_upcycle::step0::{DEFAULT_TOKENS, Probe, compare};
use coppice_upcycle::tokenizer_training::{END_OF_TEXT, TokenizerSettings, train_tokenizer as learn, write_tokenizer};
use coppice_upcycle::world::{Document, World};
use tch::Device;

use super::recipe::{Recipe, UpcycleRecipe};
use crate::common::{Interrupted, interrupted};
use crate::memory::refuse_too_large;

/// Strangers whose texts the tokenizer is trained on.
const STRANGERS: usize = 2000;

/// Learns the world's tokenizer and writes it.
pub fn train_tokenizer(world: &World, settings: &TokenizerSettings, folder: &Path) -> Result<()> {
    let documents: Vec<String> = world.tokenizer_documents(STRANGERS).collect();
    let tokenizer = learn(documents.into_iter(), settings)?;
    Ok(write_tokenizer(&tokenizer, settings, folder)?)
}

/// Ids of the documents of some passes, each followed by the end-of-text id.
pub fn tokens(world: &World, passes: Range<usize>, tokenizer: &Path) -> Result<Vec<u32>> {
    encode(passes.flat_map(|pass| world.pass(pass)), tokenizer)
}

/// Ids of the held-out documents.
pub fn validation_tokens(world: &World, tokenizer: &Path) -> Result<Vec<u32>> {
    encode(world.validation_documents(), tokenizer)
}

fn encode(documents: impl Iterator<Item = Document>, folder: &Path) -> Result<Vec<u32>> {
    let tokenizer = load(folder)?;
    let end = tokenizer.token_to_id(END_OF_TEXT).with_context(|| format!("the tokenizer lacks {END_OF_TEXT}"))?;
    Ok(tokenize_documents(&tokenizer, documents.map(|document| Ok(document.text)), end)?.tokens)
}

fn load(folder: &Path) -> Result<tokenizers::Tokenizer> {
    let path = folder.join("tokenizer.json");
    tokenizers::Tokenizer::from_file(&path).map_err(|error| anyhow!("{}: {error}", path.display()))
}

/// The dense model before any training.
pub fn random_model(recipe: &Recipe, tokenizer: &Path, device: Device) -> Result<Model> {
    let tokenizer = load(tokenizer)?;
    let end = tokenizer.token_to_id(END_OF_TEXT).with_context(|| format!("the tokenizer lacks {END_OF_TEXT}"))?;
    let config = recipe.config(tokenizer.get_vocab_size(true) as i64, i64::from(end))?;
    refuse_too_large(&config, device)?;
    Ok(Model::new(&Random { config: &config, seed: recipe.model.seed, std: recipe.model.init_std, device }, &config, device)?)
}

/// The id that ends every text of this model.
pub fn end_of_text(config: &Config) -> Result<i64> {
    config.eos_token_ids.first().copied().context("the model has no end-of-text id")
}

/// Upcycles `source` into `folder`/model, with the step-0 report beside it.
pub fn upcycle(recipe: &UpcycleRecipe, seed: u64, source: &Path, folder: &Path) -> Result<()> {
    let target = folder.join("model");
    let dense = Checkpoint::open(source)?;
    convert(&Sources::one(&dense), &recipe.options(seed)?, &target, &mut |_| {}, interrupted()).map_err(stopped)?;
    let probe = Probe::Random { tokens: DEFAULT_TOKENS, seed };
    let report = compare(&dense, &Checkpoint::open(&target)?, &probe, &mut |_, _| {}, interrupted())?;
    card::add_report(&target, &report)?;
    Ok(write_atomic(folder.join("step0.json"), serde_json::to_string_pretty(&report)?.as_bytes())?)
}

/// A stage that was interrupted is begun anew by the next run; the stages before it are kept.
fn stopped(error: ConvertError) -> anyhow::Error {
    if matches!(error, ConvertError::Interrupted | ConvertError::Paused { .. }) { Interrupted::Kept.into() } else { error.into() }
}
