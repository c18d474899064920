//! How little the model believes its response when asked whether it is true.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// −ln P(True). Probabilities below the smallest normal float count as that.
pub(super) struct PTrue;

impl Scorer for PTrue {
    fn card(&self) -> &'static Card {
        &Card {
            name: "p_true",
            needs: &[inputs::P_TRUE],
            cost: Cost::ExtraPass,
            citation: "Kadavath et al. 2022 (arXiv 2207.05221), P(True), as in LM-Polygraph",
            summary: "negative log-probability of True when asked about the response, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let judged = case.record.judged.as_ref().and_then(|judged| judged.p_true);
        Ok(-inputs::probability(judged, inputs::P_TRUE)?.max(f64::MIN_POSITIVE).ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Judged, Record};

    fn score(p_true: f64) -> Result<f64, Missing> {
        let judged = Some(Judged { p_true: Some(p_true), ..Judged::default() });
        PTrue.score(&Case::new(&Record { judged, ..Record::default() }))
    }

    #[test]
    fn belief_is_not_suspect_and_disbelief_is_finite() {
        assert_eq!(score(1.0), Ok(0.0));
        assert_eq!(score(0.5), Ok(2f64.ln()));
        assert!(score(0.0).is_ok_and(|score| score > 700.0 && score.is_finite()));
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        for value in [-0.1, 1.1, f64::NAN] {
            assert_eq!(score(value).expect_err("no probability").to_string(), "a judged.p_true from 0 to 1");
        }
    }
}
