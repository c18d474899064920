//! How little the samples' words agree.

use super::{Cost, Missing, Scorer, inputs};
use crate::record::Record;
use crate::similarity::{RougeL, Similarity, mean_pairwise};

/// −mean over sample pairs of ROUGE-L F1; the response itself is not compared. Words and stemming: see [`RougeL`].
pub(super) struct LexicalSimilarity;

impl Scorer for LexicalSimilarity {
    fn name(&self) -> &'static str {
        "lexical_similarity"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[inputs::SAMPLES]
    }

    fn cost(&self) -> Cost {
        Cost::Samples
    }

    fn citation(&self) -> &'static str {
        "Fomicheva et al. 2020 (arXiv 2005.10608); Kuhn et al. 2023 (arXiv 2302.09664), ROUGE-L, as in LM-Polygraph"
    }

    fn summary(&self) -> &'static str {
        "negated mean ROUGE-L F1 of all pairs of samples"
    }

    fn score(&self, record: &Record) -> Result<f64, Missing> {
        let samples = inputs::samples(record, 2)?;
        let similarity = RougeL.matrix(&record.sample_texts());
        mean_pairwise(&similarity).map(|mean| -mean).ok_or(Missing::Samples { needed: 2, found: samples.len() })
    }
}
