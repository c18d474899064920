//! Similarity of texts by the embeddings of a sentence encoder.

use std::fmt;
use std::path::Path;

use ndarray::Array2;

use super::EncoderError;
use super::backbone::Backbone;
use super::config::Config;
use super::folder::Folder;
use super::modules::Modules;
use super::tokens::{Batch, Tokens, failed};
use crate::similarity::{BackendError, Similarity, all_pairs, cosine};

/// A sentence encoder. The similarity of two texts is the cosine of their embeddings where that is positive, and 0 where it is not: a similarity
/// is in 0 to 1, and below a right angle texts have no more in common than at one.
///
/// The folder is that of a sentence-transformers model (its pooling is read: mean or first token; the cosine makes a normalisation void) or of
/// a bare transformers model, which is pooled by the mean as sentence-transformers does. Cosines are those of sentence-transformers within 1e-5.
/// A text longer than the model takes is cut and counted ([`Similarity::truncated`]).
pub struct SentenceEncoder {
    folder: String,
    tokens: Tokens,
    backbone: Backbone,
    modules: Modules,
}

impl SentenceEncoder {
    /// Opens a folder as sentence-transformers or transformers saves it.
    ///
    /// # Errors
    /// [`EncoderError`] says in one sentence what is absent, malformed or not supported.
    pub fn open(folder: &Path) -> Result<Self, EncoderError> {
        let path = folder.display().to_string();
        let modules = Modules::read(&Folder::new(folder))?;
        let folder = Folder::new(&modules.transformer);
        let config = Config::read(&folder)?;
        let max_length = folder.max_length(&config)?;
        let tokens = Tokens::open(&folder, &config, modules.max_length.map_or(max_length, |length| length.min(max_length)))?;
        let backbone = Backbone::load(&folder.weights()?, &config)?;
        Ok(Self { folder: path, tokens, backbone, modules })
    }

    /// Embeddings of texts, one a text, before any normalisation.
    ///
    /// # Errors
    /// When the network fails or gives something that is no number.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, BackendError> {
        let mut embeddings = vec![Vec::new(); texts.len()];
        let texts: Vec<String> = texts.iter().map(|text| self.modules.prepare(text)).collect();
        for batch in self.tokens.batches(texts)? {
            for (&place, embedding) in batch.places.iter().zip(self.embed_batch(&batch).map_err(failed)?) {
                embeddings[place] = embedding;
            }
        }
        let finite = embeddings.iter().flatten().all(|value| value.is_finite());
        if finite { Ok(embeddings) } else { Err(failed("the model gives no finite embeddings")) }
    }

    fn embed_batch(&self, batch: &Batch) -> candle_core::Result<Vec<Vec<f32>>> {
        self.modules.pooling.pool(&self.backbone.forward(batch)?, batch)?.to_vec2()
    }
}

impl Similarity for SentenceEncoder {
    fn name(&self) -> &'static str {
        "sentence_encoder"
    }

    fn key(&self) -> &str {
        &self.folder
    }

    fn matrix(&self, texts: &[&str]) -> Result<Array2<f64>, BackendError> {
        let embeddings = self.embed(texts)?;
        Ok(all_pairs(texts.len(), |i, j| cosine(&embeddings[i], &embeddings[j]).clamp(0.0, 1.0)))
    }

    fn truncated(&self) -> u64 {
        self.tokens.cut()
    }
}

impl fmt::Debug for SentenceEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentenceEncoder").field("folder", &self.folder).field("pooling", &self.modules.pooling).finish_non_exhaustive()
    }
}
