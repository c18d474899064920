//! Training a byte-level BPE tokenizer and writing it in the Hugging Face layout.
//!
//! Byte-level BPE as in GPT-2: any text can be encoded and decodes to itself. The same documents and settings give the same
//! bytes. Special tokens take the first ids, in their order.

use std::path::{Path, PathBuf};

use coppice_models::fs::write_atomic;
use serde::{Deserialize, Serialize};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

/// Ends every document, and begins and pads where a tool wants tokens for that.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// Why a tokenizer could not be trained or written.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The settings cannot be met.
    #[error("tokenizer: {0}")]
    Settings(String),
    /// The `tokenizers` library refused.
    #[error("tokenizer: {0}")]
    Library(String),
    /// A file could not take its place.
    #[error(transparent)]
    Fs(#[from] coppice_models::fs::FsError),
    /// A file could not be written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// Result with [`TrainingError`].
pub type Result<T> = std::result::Result<T, TrainingError>;

/// What tokenizer to train.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizerSettings {
    /// Number of ids, the 256 bytes and the special tokens among them.
    pub vocab_size: usize,
    /// Special tokens, ids 0, 1, …; [`END_OF_TEXT`] must be one of them.
    pub special_tokens: Vec<String>,
    /// The longest text a model of this tokenizer takes, in tokens; written for tools that want to know.
    pub model_max_length: usize,
}

impl Default for TokenizerSettings {
    fn default() -> Self {
        Self { vocab_size: 1500, special_tokens: vec![END_OF_TEXT.to_owned()], model_max_length: 256 }
    }
}

impl TokenizerSettings {
    fn validate(&self) -> Result<()> {
        let least = 256 + self.special_tokens.len();
        if self.vocab_size < least {
            return Err(TrainingError::Settings(format!("vocab_size = {} is below {least}: bytes and special tokens", self.vocab_size)));
        }
        if !self.special_tokens.iter().any(|token| token == END_OF_TEXT) {
            return Err(TrainingError::Settings(format!("special_tokens lacks {END_OF_TEXT}")));
        }
        Ok(())
    }
}

/// Trains on all of `documents`.
///
/// # Errors
/// [`TrainingError::Settings`] for settings out of their limits, or when the text is too small for `vocab_size`.
pub fn train_tokenizer(documents: impl Iterator<Item = String> + Send, settings: &TokenizerSettings) -> Result<Tokenizer> {
    settings.validate()?;
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(byte_level()));
    tokenizer.with_decoder(Some(byte_level()));
    tokenizer.with_post_processor(Some(byte_level()));
    let mut trainer = TrainerWrapper::from(trainer(settings));
    tokenizer.train(&mut trainer, documents).map_err(library)?;
    check_size(&tokenizer, settings)?;
    Ok(tokenizer)
}

/// No blank is put before the text, and tokens' offsets leave out the blank they begin with.
fn byte_level() -> ByteLevel {
    ByteLevel::new(false, true, true)
}

fn trainer(settings: &TokenizerSettings) -> BpeTrainer {
    let special = settings.special_tokens.iter().map(|token| AddedToken::from(token.clone(), true));
    BpeTrainer::builder()
        .vocab_size(settings.vocab_size)
        .special_tokens(special.collect())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .show_progress(false)
        .build()
}

fn check_size(tokenizer: &Tokenizer, settings: &TokenizerSettings) -> Result<()> {
    let reached = tokenizer.get_vocab_size(true);
    if reached == settings.vocab_size {
        return Ok(());
    }
    Err(TrainingError::Settings(format!("vocab_size = {}, but this text gives {reached} tokens at most", settings.vocab_size)))
}

/// Writes `tokenizer.json` and `tokenizer_config.json` into `folder`, which is made if it is not there. transformers'
/// `AutoTokenizer.from_pretrained(folder)` reads them.
///
/// # Errors
/// [`TrainingError::Io`] naming the file; a file is written whole or not at all.
pub fn write_tokenizer(tokenizer: &Tokenizer, settings: &TokenizerSettings, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|source| io_error(folder, source))?;
    let json = tokenizer.to_string(true).map_err(library)?;
    write_text(&folder.join("tokenizer.json"), &json)?;
    let config = serde_json::json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "add_prefix_space": false,
        "clean_up_tokenization_spaces": false,
        "model_max_length": settings.model_max_length,
    });
    write_text(&folder.join("tokenizer_config.json"), &format!("{config:#}\n"))
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    Ok(write_atomic(path, text.as_bytes())?)
}

fn io_error(path: &Path, source: std::io::Error) -> TrainingError {
    TrainingError::Io { path: path.to_path_buf(), source }
}

fn library(error: tokenizers::Error) -> TrainingError {
    TrainingError::Library(error.to_string())
}
