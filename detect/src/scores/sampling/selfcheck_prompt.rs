//! How little the samples support the response's sentences when a model is asked.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// Mean over the response's sentences of the mean over samples of `judged.support`: 0 supported, 1 not, ½ neither said.
pub(super) struct SelfcheckPrompt;

impl Scorer for SelfcheckPrompt {
    fn card(&self) -> &'static Card {
        &Card {
            name: "selfcheck_prompt",
            needs: &[inputs::SAMPLES, inputs::SUPPORT],
            cost: Cost::Samples,
            citation: "Manakul et al. 2023, SelfCheckGPT (arXiv 2303.08896), prompt variant, as in selfcheckgpt 0.1.7",
            summary: "share of samples that do not support a sentence of the response, as the judge says, mean over sentences",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let support = case.record.judged.as_ref().and_then(|judged| judged.support.as_ref()).ok_or(Missing::Field(inputs::SUPPORT))?;
        if support.is_empty() || support.iter().any(Vec::is_empty) {
            return Err(Missing::Entries(inputs::SUPPORT));
        }
        let sentences: Vec<f64> = support.iter().map(|samples| inputs::mean(samples)).collect();
        Ok(inputs::mean(&sentences))
    }
}
