//! How much more the answers to one wording agree than the answers to different ones: what the wording decides, the facts did not.

use super::wordings::{self, Wordings};
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// Mean similarity of pairs of answers to one wording − mean similarity of pairs of answers to two. The samples are the answers to the prompt's
/// own wording; the response, which may be decoded in another way, is left out.
pub(super) struct WithinAcrossGap;

impl Scorer for WithinAcrossGap {
    fn card(&self) -> &'static Card {
        &Card {
            name: "within_across_gap",
            needs: &[inputs::VARIANTS],
            cost: Cost::Samples,
            citation: wordings::CITATION,
            summary: "agreement of answers within one wording less agreement across wordings",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let all = case.shared(Wordings::of)?;
        let pairs = (1..all.wording.len()).flat_map(|i| (i + 1..all.wording.len()).map(move |j| (i, j)));
        let (within, across): (Vec<_>, Vec<_>) = pairs.partition(|&(i, j)| all.wording[i] == all.wording[j]);
        let mean = |pairs: &[(usize, usize)]| inputs::mean(&pairs.iter().map(|&(i, j)| all.similarity[[i, j]]).collect::<Vec<_>>());
        match (within.is_empty(), across.is_empty()) {
            (true, _) => Err(Missing::Field("two answers to one wording")),
            (_, true) => Err(Missing::Field("answers to two wordings")),
            _ => Ok(mean(&within) - mean(&across)),
        }
    }
}
