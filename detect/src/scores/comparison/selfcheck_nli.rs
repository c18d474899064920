//! SelfCheckGPT with entailment: which sentences do the samples contradict?

use super::luq::without_neutral;
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};
use crate::sentences::parts;

/// Mean over the response's sentences of the mean over samples of p(contradiction) / (p(entailment) + p(contradiction)), the sentence as the
/// premise and the whole sample as the hypothesis, the order in which SelfCheckGPT hands them to its model.
pub(super) struct SelfcheckNli;

impl Scorer for SelfcheckNli {
    fn card(&self) -> &'static Card {
        &Card {
            name: "selfcheck_nli",
            needs: &[inputs::SAMPLES],
            cost: Cost::Comparison,
            citation: "Manakul et al. 2023, SelfCheckGPT (arXiv 2303.08896), NLI variant of selfcheckgpt 0.1.7",
            summary: "mean contradiction of the response's sentences by the samples, neutral set aside",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        inputs::samples(case.record, 1)?;
        let samples = case.record.sample_texts();
        let pairs: Vec<(&str, &str)> =
            parts(&case.record.response).flat_map(|sentence| samples.iter().map(move |&sample| (sentence, sample))).collect();
        if pairs.is_empty() {
            return Err(Missing::Entries("response"));
        }
        let contradicted: Vec<f64> = case.judge(&pairs)?.iter().map(|judgement| 1.0 - without_neutral(judgement)).collect();
        Ok(inputs::mean(&contradicted))
    }
}
