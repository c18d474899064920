//! The answers to all wordings of a prompt, compared once for the contrastive scores.

use ndarray::Array2;

use crate::record::{Record, Sample};
use crate::scores::{Case, Missing, inputs};

/// The papers that vary the input, for the cards.
pub(super) const CITATION: &str =
    "Elazar et al. 2021, ParaRel (arXiv 2102.01017); Zhang et al. 2023, SAC3 (arXiv 2311.01740); Gao et al. 2024, SPUQ (arXiv 2403.02509)";

/// The answers to the variants of the prompt.
pub(super) fn varied<'a>(case: &Case<'a>) -> Result<Vec<&'a Sample>, Missing> {
    let variants = &case.record.variants;
    if variants.is_empty() {
        return Err(Missing::Field(inputs::VARIANTS));
    }
    let answers: Vec<&Sample> = variants.iter().flat_map(|variant| &variant.samples).collect();
    if answers.is_empty() { Err(Missing::Entries("variants[].samples")) } else { Ok(answers) }
}

/// All answers beside the wording that drew them.
pub(super) struct Wordings {
    /// Of the response and the samples, wording 0, then of the variants' answers, from 1.
    pub(super) wording: Vec<usize>,
    /// By the setup's similarity, `[answers, answers]`; the response stands first.
    pub(super) similarity: Array2<f64>,
}

impl Wordings {
    /// # Errors
    /// Without a variant's answer, and when the similarity's back-end fails.
    pub(super) fn of(case: &Case<'_>) -> Result<Self, Missing> {
        let record = case.record;
        let answers: Vec<&Sample> = record.samples.iter().chain(varied(case)?).collect();
        let varied = record.variants.iter().zip(1..).flat_map(|(variant, number)| vec![number; variant.samples.len()]);
        let pooled = answers_alone(&record.response, &answers);
        let similarity = Case::with(&pooled, case.setup).similarity(case.setup.similarity.as_ref())?.as_ref().clone();
        Ok(Self { wording: vec![0; 1 + record.samples.len()].into_iter().chain(varied).collect(), similarity })
    }
}

/// A record of these answers, as a case compares and clusters them.
pub(super) fn answers_alone(response: &str, answers: &[&Sample]) -> Record {
    let samples = answers.iter().map(|answer| Sample { text: answer.text.clone(), ..Sample::default() }).collect();
    Record { response: response.to_owned(), samples, ..Record::default() }
}
