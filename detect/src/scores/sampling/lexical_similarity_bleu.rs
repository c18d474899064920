//! How few phrases the samples share.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};
use crate::similarity::{Grams, sentence_bleu};
use crate::text::Vocabulary;

/// −mean over sample pairs i < j of BLEU of sample j against sample i. Words are what white space parts, in their own case. As in LM-Polygraph
/// each pair counts in the order drawn, and BLEU is not symmetric: samples in another order may score a little differently.
pub(super) struct LexicalSimilarityBleu;

impl Scorer for LexicalSimilarityBleu {
    fn card(&self) -> &'static Card {
        &Card {
            name: "lexical_similarity_bleu",
            needs: &[inputs::SAMPLES],
            cost: Cost::Samples,
            citation: "Fomicheva et al. 2020 (arXiv 2005.10608); Kuhn et al. 2023 (arXiv 2302.09664), BLEU, as in LM-Polygraph",
            summary: "negated mean BLEU of all pairs of samples",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let mut vocabulary = Vocabulary::default();
        let samples = inputs::samples(case.record, 2)?;
        let grams: Vec<Grams> = samples.iter().map(|sample| Grams::new(&vocabulary.number(sample.text.split_whitespace()))).collect();
        let later = |i: usize| &grams[i + 1..];
        let total: f64 = (0..grams.len())
            .flat_map(|i| later(i).iter().map(move |other| (i, other)))
            .map(|(i, other)| sentence_bleu(&grams[i], other))
            .sum();
        Ok(-total / (grams.len() * (grams.len() - 1) / 2) as f64)
    }
}
