//! How few words the samples share, in whatever order.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};
use crate::similarity::{Rouge1, mean_pairwise};

/// −mean over sample pairs of ROUGE-1 F1; the response itself is not compared. Words and stemming: see [`Rouge1`].
pub(super) struct LexicalSimilarityRouge1;

impl Scorer for LexicalSimilarityRouge1 {
    fn card(&self) -> &'static Card {
        &Card {
            name: "lexical_similarity_rouge_1",
            needs: &[inputs::SAMPLES],
            cost: Cost::Samples,
            citation: "Fomicheva et al. 2020 (arXiv 2005.10608); Kuhn et al. 2023 (arXiv 2302.09664), ROUGE-1, as in LM-Polygraph",
            summary: "negated mean ROUGE-1 F1 of all pairs of samples",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let samples = inputs::samples(case.record, 2)?;
        let similarity = case.sample_similarity(&Rouge1)?;
        mean_pairwise(&similarity).map(|mean| -mean).ok_or(Missing::Samples { needed: 2, found: samples.len() })
    }
}
