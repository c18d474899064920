//! BSDetector: what the samples say and what the model says of itself, in one number.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// Weights of non-contradiction, exact match and self-reflection: 0.7 × (0.8, 0.2) and 0.3, as published.
const WEIGHTS: [f64; 3] = [0.56, 0.14, 0.30];

/// 1 − (0.56 non-contradiction + 0.14 exact match + 0.30 p(True)). Non-contradiction: mean over samples of 1 − p(contradiction), both
/// directions averaged; exact match: share of samples equal to the response.
pub(super) struct BsDetector;

impl Scorer for BsDetector {
    fn card(&self) -> &'static Card {
        &Card {
            name: "bsdetector",
            needs: &[inputs::SAMPLES, "judged.p_true"],
            cost: Cost::Comparison,
            citation: "Chen and Mueller 2024 (arXiv 2308.16175); weights as in uqlm's BS detector ensemble (arXiv 2504.19254)",
            summary: "1 - (0.56 non-contradiction + 0.14 exact match + 0.30 p_true)",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let samples = inputs::samples(case.record, 1)?;
        let reflected = case.record.judged.as_ref().and_then(|judged| judged.p_true).ok_or(Missing::Field("judged.p_true"))?;
        let equal = samples.iter().filter(|sample| sample.text == case.record.response).count();
        let parts = [non_contradiction(case)?, equal as f64 / samples.len() as f64, reflected];
        Ok(1.0 - WEIGHTS.iter().zip(parts).map(|(weight, part)| weight * part).sum::<f64>())
    }
}

/// Mean over samples of 1 − p(contradiction) between the response and the sample.
fn non_contradiction(case: &Case<'_>) -> Result<f64, Missing> {
    let judged = case.entailment()?;
    let of = |sample: usize| 1.0 - (judged[[0, sample]].contradiction + judged[[sample, 0]].contradiction) / 2.0;
    Ok(inputs::mean(&(1..judged.nrows()).map(of).collect::<Vec<_>>()))
}
