//! Real text in a recipe: files, and how much of them each phase reads.

use std::path::PathBuf;

use anyhow::{Result, bail};
use coppice_upcycle::tokenizer_training::TokenizerSettings;
use serde::{Deserialize, Serialize};

/// Where the data of the tests and recipes lies when `COPPICE_DATA` says nothing.
const DEFAULT_DATA: &str = "../shared/data";

/// Documents with their domains, tokenised by a tokenizer of their own. Models and training settings are the recipe's.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextRecipe {
    /// Training documents, `.jsonl` with `text` and `domain`, plain or `.zst`; relative to `COPPICE_DATA` (default `../shared/data`).
    pub train: Vec<PathBuf>,
    /// Held-out documents.
    pub valid: Vec<PathBuf>,
    /// The tokenizer trained on the training documents.
    #[serde(default)]
    pub tokenizer: TokenizerSettings,
    /// Characters of the shuffled training pieces that pre-training reads.
    pub pretrain_characters: usize,
    /// Characters after those that continued training reads.
    pub continue_characters: usize,
    /// Characters of the held-out documents that are measured.
    pub valid_characters: usize,
    /// Seed of the order of the pieces.
    #[serde(default)]
    pub seed: u64,
}

impl TextRecipe {
    pub(super) fn check(&self) -> Result<()> {
        let sizes = [self.pretrain_characters, self.continue_characters, self.valid_characters];
        if self.train.is_empty() || self.valid.is_empty() || sizes.contains(&0) {
            bail!("text: name training and held-out files, and characters above zero for both phases and the held-out part");
        }
        Ok(())
    }

    /// The files, found below `COPPICE_DATA`.
    pub fn files(names: &[PathBuf]) -> Vec<PathBuf> {
        let data = std::env::var_os("COPPICE_DATA").map_or_else(|| PathBuf::from(DEFAULT_DATA), PathBuf::from);
        names.iter().map(|name| data.join(name)).collect()
    }

    /// The first file that is not there.
    pub fn missing(&self) -> Option<PathBuf> {
        Self::files(&self.train).into_iter().chain(Self::files(&self.valid)).find(|path| !path.is_file())
    }
}
