//! The confidence that the model names for its response.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// 1 − the confidence named, 0 to 1. A record in which none was named lacks the score: it is not taken for doubt.
pub(super) struct Verbalised;

impl Scorer for Verbalised {
    fn card(&self) -> &'static Card {
        &Card {
            name: "verbalised",
            needs: &[inputs::VERBALISED],
            cost: Cost::ExtraPass,
            citation: "Tian et al. 2023, Just Ask for Calibration (arXiv 2305.14975), Verb. 1S and 2S, as in LM-Polygraph",
            summary: "one minus the confidence the model names when asked for a number",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let judged = case.record.judged.as_ref().and_then(|judged| judged.verbalised);
        Ok(1.0 - inputs::probability(judged, inputs::VERBALISED)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Judged, Record};

    fn score(verbalised: Option<f64>) -> Result<f64, Missing> {
        let judged = Some(Judged { verbalised, ..Judged::default() });
        Verbalised.score(&Case::new(&Record { judged, ..Record::default() }))
    }

    #[test]
    fn full_confidence_is_not_suspect() {
        assert_eq!([1.0, 0.75, 0.0].map(|named| score(Some(named))), [Ok(0.0), Ok(0.25), Ok(1.0)]);
    }

    #[test]
    fn no_confidence_named_is_no_score() {
        assert_eq!(score(None), Err(Missing::Field(inputs::VERBALISED)));
        assert_eq!(score(Some(85.0)), Err(Missing::Probability(inputs::VERBALISED)));
    }
}
