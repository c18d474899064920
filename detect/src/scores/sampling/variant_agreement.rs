//! How little the answers to other wordings of the prompt resemble the response.

use super::wordings::{self, Wordings};
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// 1 − mean over variants of the mean similarity between the response and the variant's answers, by the setup's similarity.
pub(super) struct VariantAgreement;

impl Scorer for VariantAgreement {
    fn card(&self) -> &'static Card {
        &Card {
            name: "variant_agreement",
            needs: &[inputs::VARIANTS],
            cost: Cost::Samples,
            citation: wordings::CITATION,
            summary: "1 - mean similarity of the response to the answers to other wordings",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let all = case.shared(Wordings::of)?;
        let of = |number: usize| all.wording.iter().zip(all.similarity.row(0)).filter(move |(wording, _)| **wording == number);
        let answered = (1..=case.record.variants.len()).map(|number| of(number).map(|(_, &similarity)| similarity).collect::<Vec<_>>());
        let means: Vec<f64> =
            answered.filter(|similarities| !similarities.is_empty()).map(|similarities| inputs::mean(&similarities)).collect();
        Ok(1.0 - inputs::mean(&means))
    }
}
