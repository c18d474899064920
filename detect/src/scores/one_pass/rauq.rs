//! Recurrent uncertainty of tokens, handed on along the attention to the previous one.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// Maximum over layers l of 1 − mean_t ln c_t, with c_1 = p_1 and c_t = α p_t + (1 − α) a_t c_{t−1}, a_t the attention of the step that predicts
/// token t to token t − 1 in the layer's head of largest mean attention there. The record has the value of every layer looked at, the middle
/// third in `coppice`.
pub(super) struct Rauq;

impl Scorer for Rauq {
    fn card(&self) -> &'static Card {
        &Card {
            name: "rauq",
            needs: &[inputs::RAUQ],
            cost: Cost::OnePass,
            citation: "Vazhentsev et al. 2025, RAUQ (arXiv 2505.20045)",
            summary: "largest recurrent attention-based uncertainty of the middle layers",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        Ok(inputs::rauq(case.record)?.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Attention, Record};

    #[test]
    fn the_least_certain_layer_counts() {
        let attention = Some(Attention { rauq: vec![1.25, 2.5, 1.5], ..Attention::default() });
        assert_eq!(Rauq.score(&Case::new(&Record { attention, ..Record::default() })), Ok(2.5));
    }

    #[test]
    fn attention_without_layers_is_no_score() {
        let record = Record { attention: Some(Attention::default()), ..Record::default() };
        assert_eq!(Rauq.score(&Case::new(&record)), Err(Missing::Entries(inputs::RAUQ)));
    }
}
