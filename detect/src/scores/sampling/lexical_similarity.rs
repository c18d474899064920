//! How little the samples' words agree.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};
use crate::similarity::{RougeL, mean_pairwise};

/// −mean over sample pairs of ROUGE-L F1; the response itself is not compared. Words and stemming: see [`RougeL`].
pub(super) struct LexicalSimilarity;

impl Scorer for LexicalSimilarity {
    fn card(&self) -> &'static Card {
        &Card {
            name: "lexical_similarity",
            needs: &[inputs::SAMPLES],
            cost: Cost::Samples,
            citation: "Fomicheva et al. 2020 (arXiv 2005.10608); Kuhn et al. 2023 (arXiv 2302.09664), ROUGE-L, as in LM-Polygraph",
            summary: "negated mean ROUGE-L F1 of all pairs of samples",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let samples = inputs::samples(case.record, 2)?;
        let similarity = case.sample_similarity(&RougeL)?;
        mean_pairwise(&similarity).map(|mean| -mean).ok_or(Missing::Samples { needed: 2, found: samples.len() })
    }
}
