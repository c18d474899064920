//! How closely the likeliest token is followed by the next.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// 1 − mean over the response's tokens of p⁽¹⁾ − p⁽²⁾, the probabilities of the two likeliest tokens there: 0 where one token has all
/// probability, 1 where two share the first place. uqlm's `probability_margin` is one minus it.
pub(super) struct Top2Margin;

impl Scorer for Top2Margin {
    fn card(&self) -> &'static Card {
        &Card {
            name: "top2_margin",
            needs: &[inputs::TOP_LOGPROBS],
            cost: Cost::OnePass,
            citation: "Farr et al. 2024, RED-CT (arXiv 2408.08217), as in uqlm 0.6, probability_margin",
            summary: "one minus the mean difference of the probabilities of the two likeliest tokens",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let margins: Option<Vec<f64>> = inputs::alternatives(case.record)?.iter().map(|alternatives| margin(alternatives)).collect();
        Ok(1.0 - inputs::mean(&margins.ok_or(Missing::Field("two top_logprobs at every token"))?))
    }
}

/// Difference of the two largest probabilities; `None` of fewer than two.
fn margin(alternatives: &[(i64, f64)]) -> Option<f64> {
    let mut logprobs: Vec<f64> = alternatives.iter().map(|&(_, logprob)| logprob).collect();
    logprobs.sort_by(|a, b| b.total_cmp(a));
    match logprobs.as_slice() {
        [first, second, ..] => Some(first.exp() - second.exp()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    fn score(alternatives: Vec<Vec<(i64, f64)>>) -> Result<f64, Missing> {
        Top2Margin.score(&Case::new(&Record { top_logprobs: Some(alternatives), ..Record::default() }))
    }

    #[test]
    fn a_tie_scores_one_and_certainty_none() {
        assert_eq!(score(vec![vec![(3, 0.25_f64.ln()); 4]]), Ok(1.0));
        assert_eq!(score(vec![vec![(3, 0.0), (4, -800.0)]]), Ok(0.0));
    }

    #[test]
    fn the_order_of_alternatives_and_their_ids_do_not_matter() {
        let [first, second, third] = [0.5_f64, 0.3, 0.1].map(f64::ln);
        let mixed = score(vec![vec![(-1, third), (-1, first), (-1, second)]]).expect("three alternatives");
        assert!((mixed - 0.8).abs() < 1e-15, "{mixed}");
    }

    #[test]
    fn one_alternative_has_no_margin() {
        let error = score(vec![vec![(1, -0.1), (2, -3.0)], vec![(1, -0.1)]]).expect_err("one alternative");
        assert_eq!(error.to_string(), "two top_logprobs at every token");
    }
}
