//! SAR: both shifts of attention to relevance at once, tokens within samples and samples among each other.

use super::relevance::{TOKEN_TEXTS, token_sar};
use super::sentence_sar::relevant;
use crate::record::Sample;
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

const SAMPLE_TEXTS: &str = "samples[].token_texts";

/// `sentence_sar` with exp(−TokenSAR_i) for the probability of sample i.
pub(super) struct Sar;

impl Scorer for Sar {
    fn card(&self) -> &'static Card {
        &Card {
            name: "sar",
            needs: &[inputs::SAMPLES, inputs::SAMPLE_LOGPROBS, SAMPLE_TEXTS],
            cost: Cost::Samples,
            citation: "Duan et al. 2024 (arXiv 2307.01379), SAR, as in LM-Polygraph SAR",
            summary: "sentence_sar over the samples' relevance-weighted log-probabilities",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let samples = inputs::samples(case.record, 1)?;
        let weighted = samples.iter().enumerate().map(|(index, sample)| of_sample(case, index, sample)).collect::<Result<Vec<_>, _>>()?;
        Ok(relevant(&weighted, &case.sample_similarity(case.setup.similarity.as_ref())?))
    }
}

/// −TokenSAR of a sample.
fn of_sample(case: &Case<'_>, index: usize, sample: &Sample) -> Result<f64, Missing> {
    let lacks = |field| Missing::SampleField { field, index };
    let logprobs = sample.token_logprobs.as_deref().filter(|all| !all.is_empty()).ok_or(lacks(inputs::TOKEN_LOGPROBS))?;
    let texts = sample.token_texts.as_deref().filter(|texts| texts.len() == logprobs.len()).ok_or(lacks(TOKEN_TEXTS))?;
    token_sar(case, texts, logprobs).map(|weighted| -weighted)
}
