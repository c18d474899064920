//! LUQ: how far the samples of a long answer entail each other.

use ndarray::s;

use crate::entailment::Judgement;
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// 1 − mean over ordered pairs of samples of p(entailment) / (p(entailment) + p(contradiction)): LM-Polygraph's basic form, in which whole
/// samples are compared. The paper compares sentence by sentence; for one-sentence answers the two agree.
pub(super) struct Luq;

impl Scorer for Luq {
    fn card(&self) -> &'static Card {
        &Card {
            name: "luq",
            needs: &[inputs::SAMPLES],
            cost: Cost::Comparison,
            citation: "Zhang et al. 2024 (LUQ, EMNLP 2024, main 299), as in LM-Polygraph LUQ",
            summary: "1 - mean entailment among the samples, neutral set aside",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let pairs = inputs::samples(case.record, 2)?.len() as f64;
        let entailed = case.entailment()?.slice(s![1.., 1..]).mapv(|judgement| without_neutral(&judgement));
        Ok(1.0 - (entailed.sum() - entailed.diag().sum()) / (pairs * (pairs - 1.0)))
    }
}

/// p(entailment) given that the pair is not neutral; one half where it surely is.
pub(super) fn without_neutral(judgement: &Judgement) -> f64 {
    let decided = judgement.entailment + judgement.contradiction;
    if decided > 0.0 { judgement.entailment / decided } else { 0.5 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neutral_is_set_aside() {
        assert_eq!(without_neutral(&Judgement { entailment: 0.1, neutral: 0.6, contradiction: 0.3 }), 0.1 / (0.1 + 0.3));
        assert_eq!(without_neutral(&Judgement { entailment: 0.0, neutral: 1.0, contradiction: 0.0 }), 0.5);
    }
}
