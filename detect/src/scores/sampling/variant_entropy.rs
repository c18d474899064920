//! How many meanings the answers to other wordings of the prompt have.

use super::wordings;
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// Discrete semantic entropy of the answers to all variants together; the response and its samples are left out. Clusters as the setup's
/// equivalence says.
pub(super) struct VariantEntropy;

impl Scorer for VariantEntropy {
    fn card(&self) -> &'static Card {
        &Card {
            name: "variant_entropy",
            needs: &[inputs::VARIANTS],
            cost: Cost::Samples,
            citation: wordings::CITATION,
            summary: "discrete semantic entropy of the answers to other wordings, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let answers = wordings::answers_alone("", &wordings::varied(case)?);
        let meanings = Case::with(&answers, case.setup).meanings()?;
        let mut counts = vec![0usize; meanings.len()];
        meanings.iter().for_each(|&meaning| counts[meaning] += 1);
        counts.sort_unstable();
        let share = |count: usize| count as f64 / meanings.len() as f64;
        Ok(counts.into_iter().filter(|&count| count > 0).map(|count| share(count) * share(count).recip().ln()).sum())
    }
}
