//! Models that compare texts, from a local folder: sentence encoders and natural-language inference.
//!
//! A folder holds what transformers writes: `config.json`, `tokenizer.json` and `model.safetensors` of a BERT, RoBERTa, XLM-RoBERTa, DeBERTa-v2
//! (v3 is the same model type) or ModernBERT. Nothing is ever fetched. The networks are candle's; where its reader would go on with a feature
//! it lacks, or would panic, [`config`] refuses first. Weights of any float type are computed with in `f32`, on the CPU.

mod backbone;
mod config;
mod entailment;
mod folder;
mod head;
mod labels;
mod modules;
mod sentence;
mod tokens;

use std::path::{Path, PathBuf};

use crate::entailment::Entailment;
use crate::similarity::Similarity;

pub use entailment::NliClassifier;
pub use sentence::SentenceEncoder;

/// Why a folder is no encoder that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncoderError {
    /// A file that is absent, unreadable or not what its name says.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Weights in a format that runs code when it is read.
    #[error("{} has no model.safetensors, only {found}: save it with transformers (save_pretrained) to get one", folder.display())]
    NoSafetensors {
        /// The folder.
        folder: PathBuf,
        /// The file that is there.
        found: &'static str,
    },
    /// A setting that means a model other than what is computed here.
    #[error("{}: {key} is {found}; supported: {supported}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The setting.
        key: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        supported: String,
    },
    /// A classifier of something else.
    #[error(
        "{}: id2label names {found}, which is no natural-language inference: expected entailment, neutral and contradiction, or entailment and \
         not_entailment",
        path.display()
    )]
    Labels {
        /// The file.
        path: PathBuf,
        /// The labels.
        found: String,
    },
}

/// Opens a sentence encoder: the similarity of two texts is the cosine of their embeddings, see [`SentenceEncoder`].
///
/// # Errors
/// [`EncoderError`] says in one sentence what the folder lacks.
pub fn open_similarity(folder: impl AsRef<Path>) -> Result<Box<dyn Similarity>, EncoderError> {
    Ok(Box::new(SentenceEncoder::open(folder.as_ref())?))
}

/// Opens a classifier of natural-language inference, see [`NliClassifier`].
///
/// # Errors
/// [`EncoderError`] says in one sentence what the folder lacks.
pub fn open_entailment(folder: impl AsRef<Path>) -> Result<Box<dyn Entailment>, EncoderError> {
    Ok(Box::new(NliClassifier::open(folder.as_ref())?))
}
