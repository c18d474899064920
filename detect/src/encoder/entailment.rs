//! Natural-language inference by a cross-encoder: premise and hypothesis are read together.

use std::fmt;
use std::path::{Path, PathBuf};

use super::EncoderError;
use super::backbone::Backbone;
use super::config::Config;
use super::folder::Folder;
use super::head::Head;
use super::labels::Labels;
use super::tokens::{Batch, Tokens, failed};
use crate::entailment::{Entailment, Judgement};
use crate::similarity::BackendError;

/// A sequence classifier for natural-language inference. Its probabilities are transformers' within 1e-5.
///
/// The labels are found by name in `id2label`. Of a model that only tells entailment from the rest, the rest counts as neutral, so that nothing
/// contradicts. A pair longer than the model takes is cut, the longer text first, and counted ([`Entailment::truncated`]).
pub struct NliClassifier {
    folder: PathBuf,
    tokens: Tokens,
    backbone: Backbone,
    head: Head,
    labels: Labels,
}

impl NliClassifier {
    /// Opens a folder as transformers saves it.
    ///
    /// # Errors
    /// [`EncoderError`] says in one sentence what is absent, malformed or not supported.
    pub fn open(folder: &Path) -> Result<Self, EncoderError> {
        let folder = Folder::new(folder);
        let config = Config::read(&folder)?;
        let labels = Labels::read(&folder, &config)?;
        let tokens = Tokens::open(&folder, &config, folder.max_length(&config)?)?;
        let weights = folder.weights()?;
        let backbone = Backbone::load(&weights, &config)?;
        let head = Head::load(&folder, &weights, &config, labels.count())?;
        Ok(Self { folder: folder.path, tokens, backbone, head, labels })
    }

    fn judge_batch(&self, batch: &Batch) -> Result<Vec<Judgement>, BackendError> {
        let logits = || self.head.forward(&self.backbone.forward(batch)?, batch)?.to_vec2::<f32>();
        let logits = logits().map_err(failed)?;
        let judgement = |logits: &Vec<f32>| self.labels.judgement(logits).ok_or_else(|| failed("the model gives no finite logits"));
        logits.iter().map(judgement).collect()
    }
}

impl Entailment for NliClassifier {
    fn name(&self) -> &'static str {
        "nli_classifier"
    }

    fn judge(&self, pairs: &[(&str, &str)]) -> Result<Vec<Judgement>, BackendError> {
        let mut judged = vec![Judgement::SAME; pairs.len()];
        for batch in self.tokens.batches(pairs.to_vec())? {
            for (&place, judgement) in batch.places.iter().zip(self.judge_batch(&batch)?) {
                judged[place] = judgement;
            }
        }
        Ok(judged)
    }

    fn truncated(&self) -> u64 {
        self.tokens.cut()
    }
}

impl fmt::Debug for NliClassifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NliClassifier").field("folder", &self.folder).field("labels", &self.labels).finish_non_exhaustive()
    }
}
