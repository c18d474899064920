//! What the tokens of a part of the response say of it.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::record::Record;
use crate::scores::Missing;

/// Entropy of the distribution that the part's first token was drawn from, nats: of a made-up part the first token shows it most (AUROC 0.79 of its
/// entropy, 0.62 at the second token, 0.54 at the sixth: Snel and Oh 2025, arXiv 2507.20836).
pub const FIRST_TOKEN_ENTROPY: &str = "first_token_entropy";
/// −ln p of the part's first token.
pub const FIRST_TOKEN_NLL: &str = "first_token_nll";
/// Mean entropy over the part's tokens, nats.
pub const MEAN_TOKEN_ENTROPY: &str = "mean_token_entropy";
/// Largest −ln p of a token of the part.
pub const MAX_TOKEN_NLL: &str = "max_token_nll";

const TOKEN_TEXTS: &str = "token_texts";
const APART: &str = "token_texts that make up the response";
const NEITHER: &str = "token_logprobs or token_entropies";

/// The tokens of a response, and where in it they stand.
pub(super) struct Traces<'a> {
    /// Bytes of the response that each token makes up; of a token without a text those of the next one, which completes its letter.
    places: Vec<Range<usize>>,
    logprobs: &'a [f64],
    entropies: &'a [f64],
}

impl<'a> Traces<'a> {
    /// # Errors
    /// [`Missing`] says what the record lacks.
    pub(super) fn of(record: &'a Record) -> Result<Self, Missing> {
        let texts = record.token_texts.as_deref().ok_or(Missing::Field(TOKEN_TEXTS))?;
        let logprobs = record.token_logprobs.as_deref().unwrap_or_default();
        let entropies = record.token_entropies.as_deref().unwrap_or_default();
        if logprobs.is_empty() && entropies.is_empty() {
            return Err(Missing::Field(NEITHER));
        }
        Ok(Self { places: places(&record.response, texts).ok_or(Missing::Field(APART))?, logprobs, entropies })
    }

    /// Every score of the tokens that share a byte with the part, as far as the record has what it reads.
    pub(super) fn scores(&self, part: &Range<usize>) -> BTreeMap<String, f64> {
        let tokens = self.within(part);
        let (logprobs, entropies) = (self.logprobs.get(tokens.clone()).unwrap_or_default(), self.entropies.get(tokens).unwrap_or_default());
        let least = logprobs.iter().copied().reduce(f64::min);
        let mean = (!entropies.is_empty()).then(|| entropies.iter().sum::<f64>() / entropies.len() as f64);
        let all = [
            (FIRST_TOKEN_ENTROPY, entropies.first().copied()),
            (FIRST_TOKEN_NLL, logprobs.first().map(|logprob| -logprob)),
            (MEAN_TOKEN_ENTROPY, mean),
            (MAX_TOKEN_NLL, least.map(|logprob| -logprob)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.filter(|value| value.is_finite())?))).collect()
    }

    fn within(&self, part: &Range<usize>) -> Range<usize> {
        let first = self.places.partition_point(|place| place.end <= part.start);
        first..self.places.partition_point(|place| place.start < part.end).max(first)
    }
}

/// Where in the response each token stands; `None` where the tokens joined do not hold the response. Tokens before or behind it (white space
/// that was cut off, the end of the text) are empty places at its ends.
fn places(response: &str, texts: &[String]) -> Option<Vec<Range<usize>>> {
    let start = texts.concat().find(response)?;
    let within = |place: usize| place.saturating_sub(start).min(response.len());
    let (mut end, mut places) = (0, Vec::with_capacity(texts.len()));
    for text in texts {
        places.push(within(end)..within(end + text.len()));
        end += text.len();
    }
    for at in (1..places.len()).rev() {
        if texts[at - 1].is_empty() {
            places[at - 1] = places[at].clone();
        }
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(response: &str, texts: &[&str]) -> Record {
        let values = |scale: f64| Some((0..texts.len()).map(|token| scale * (token + 1) as f64).collect());
        Record {
            response: response.to_owned(),
            token_texts: Some(texts.iter().map(|&text| text.to_owned()).collect()),
            token_logprobs: values(-1.0),
            token_entropies: values(0.5),
            ..Record::default()
        }
    }

    /// Logarithms of tokens are minus their number from 1, so the largest tells the last token and the first the first.
    #[track_caller]
    fn tokens(response: &str, texts: &[&str], part: &str, expected: (f64, f64)) {
        let start = response.find(part).expect("a part");
        let record = record(response, texts);
        let scores = Traces::of(&record).expect("traces").scores(&(start..start + part.len()));
        assert_eq!((scores[FIRST_TOKEN_NLL], scores[MAX_TOKEN_NLL]), expected);
        assert_eq!((scores[FIRST_TOKEN_ENTROPY], scores[MEAN_TOKEN_ENTROPY]), (expected.0 / 2.0, (expected.0 + expected.1) / 4.0));
    }

    #[test]
    fn tokens_that_share_a_letter_with_a_part_are_its_own() {
        tokens("In Ulm, 1879", &["In", " Ul", "m,", " 1", "879"], "Ulm", (2.0, 3.0));
        tokens("In Ulm, 1879", &["In", " Ul", "m,", " 1", "879"], "1879", (4.0, 5.0));
        tokens("In Ulm, 1879", &["In Ulm, 1879"], "Ulm", (1.0, 1.0));
    }

    #[test]
    fn what_was_cut_off_the_response_shifts_it() {
        tokens("Ulm it is", &["\n", " Ulm", " it is", "<|endoftext|>"], "Ulm", (2.0, 2.0));
        tokens("Ulm it is", &["\n", " Ulm", " it is", "<|endoftext|>"], "it is", (3.0, 3.0));
        tokens("Ulm", &["Ulm", ""], "Ulm", (1.0, 1.0));
    }

    #[test]
    fn a_letter_in_pieces_counts_them_all() {
        tokens("a 🙂 b", &["a", " ", "", "", "🙂", " b"], "🙂", (3.0, 5.0));
    }

    #[test]
    fn tokens_of_another_text_are_named() {
        let error = |record: &Record| Traces::of(record).map(|_| ()).expect_err("no traces").to_string();
        assert_eq!(error(&record("Rome", &["Ulm"])), "token_texts that make up the response");
        assert_eq!(error(&Record { token_texts: None, ..record("Ulm", &["Ulm"]) }), "token_texts");
        let bare = Record { token_logprobs: None, token_entropies: None, ..record("Ulm", &["Ulm"]) };
        assert_eq!(error(&bare), "token_logprobs or token_entropies");
    }

    #[test]
    fn one_kind_of_trace_is_enough() {
        let record = Record { token_entropies: None, ..record("Ulm", &["Ulm"]) };
        let scores = Traces::of(&record).expect("traces").scores(&(0..3));
        assert_eq!(scores.keys().collect::<Vec<_>>(), [FIRST_TOKEN_NLL, MAX_TOKEN_NLL]);
    }
}
