//! How little the prompt has to do with the response.

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

/// −mean over the response's tokens of ln p(y_t | prompt, y_<t) − ln p(y_t | y_<t): minus the pointwise mutual information of a token and the prompt.
///
/// The first token has an unconditional probability only where the model has an id that begins a text; without one the record has 0 there, as
/// LM-Polygraph takes it to be.
pub(super) struct Pmi;

impl Scorer for Pmi {
    fn card(&self) -> &'static Card {
        &Card {
            name: "pmi",
            needs: &[inputs::TOKEN_LOGPROBS, inputs::UNCONDITIONAL_LOGPROBS],
            cost: Cost::ExtraPass,
            citation: "Takayama and Arase 2019, Relevant and Informative Response Generation using PMI, as in LM-Polygraph",
            summary: "negative mean pointwise mutual information of the response tokens and the prompt, nats",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let (told, alone) = (inputs::logprobs(case.record)?, inputs::unconditional_logprobs(case.record)?);
        if told.len() != alone.len() {
            return Err(Missing::Field("an unconditional_logprobs entry for every token"));
        }
        Ok(inputs::mean(alone) - inputs::mean(told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    fn score(told: &[f64], alone: &[f64]) -> Result<f64, Missing> {
        let lists = (Some(told.to_vec()), Some(alone.to_vec()));
        Pmi.score(&Case::new(&Record { token_logprobs: lists.0, unconditional_logprobs: lists.1, ..Record::default() }))
    }

    #[test]
    fn a_prompt_that_says_nothing_scores_zero() {
        assert_eq!(score(&[-0.5, -1.0], &[-0.5, -1.0]), Ok(0.0));
    }

    #[test]
    fn a_prompt_that_helps_lowers_the_score() {
        assert_eq!(score(&[-0.5, -1.0], &[-2.5, -2.0]), Ok(-1.5));
    }

    #[test]
    fn lists_of_different_lengths_are_refused() {
        assert!(score(&[-0.5, -1.0], &[-2.5]).is_err());
    }
}
