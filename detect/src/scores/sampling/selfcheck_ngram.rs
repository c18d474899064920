//! How surprising the response's n-grams are to a model that counted the n-grams of the response and its samples.
//!
//! As in SelfCheckGPT 0.1.7: no smoothing; sentences are padded on the left, so that each token ends one n-gram; the share of an n-gram is its
//! count over all n-grams. There spaCy finds sentences and tokens, here white space, letters and digits do (`sentences`, `text`).

use std::rc::Rc;

use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};
use crate::sentences::parts;
use crate::text::{Vocabulary, tokens};

/// Fills the places before a sentence; no token has this number.
const PAD: u32 = u32::MAX;

/// With −ln(share of the n-gram) for every token of the response: the mean over all tokens, or (`MAX`) the mean over sentences of the maximum.
pub(super) struct SelfcheckNgram<const N: usize, const MAX: bool>;

impl<const N: usize, const MAX: bool> SelfcheckNgram<N, MAX> {
    const CARD: Card = Card {
        name: match (N, MAX) {
            (2, false) => "selfcheck_2gram_avg",
            (2, true) => "selfcheck_2gram_max",
            (3, false) => "selfcheck_3gram_avg",
            (3, true) => "selfcheck_3gram_max",
            (4, false) => "selfcheck_4gram_avg",
            (4, true) => "selfcheck_4gram_max",
            (5, false) => "selfcheck_5gram_avg",
            (5, true) => "selfcheck_5gram_max",
            (_, false) => "selfcheck_ngram_avg",
            (_, true) => "selfcheck_ngram_max",
        },
        needs: &[inputs::SAMPLES],
        cost: Cost::Samples,
        citation: "Manakul et al. 2023, SelfCheckGPT (arXiv 2303.08896), n-gram variant",
        summary: if MAX {
            "surprise at the response's rarest n-gram among response and samples, mean over sentences, nats"
        } else {
            "mean surprise at the response's n-grams among those of response and samples, nats"
        },
    };
}

impl<const N: usize, const MAX: bool> Scorer for SelfcheckNgram<N, MAX> {
    fn card(&self) -> &'static Card {
        &Self::CARD
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let sentences = case.shared(Surprises::<N>::of)?;
        if MAX {
            let maxima: Vec<f64> = sentences.0.iter().map(|tokens| tokens.iter().copied().fold(0.0, f64::max)).collect();
            return Ok(inputs::mean(&maxima));
        }
        Ok(inputs::mean(&sentences.0.concat()))
    }
}

/// Of every answer, every sentence's tokens as numbers; the response first.
struct Answers(Vec<Vec<Vec<u32>>>);

impl Answers {
    fn of(case: &Case<'_>) -> Result<Self, Missing> {
        let samples = inputs::samples(case.record, 1)?;
        let response = parts(&case.record.response).collect();
        Ok(Self::new(response, samples.iter().map(|sample| sample.text.as_str())))
    }

    fn new<'a>(response: Vec<&'a str>, samples: impl Iterator<Item = &'a str>) -> Self {
        let all = std::iter::once(response).chain(samples.map(|text| parts(text).collect()));
        let lower: Vec<Vec<String>> = all.map(|sentences| sentences.into_iter().map(str::to_lowercase).collect()).collect();
        let mut vocabulary = Vocabulary::default();
        Self(lower.iter().map(|text| text.iter().map(|sentence| vocabulary.number(tokens(sentence))).collect()).collect())
    }
}

/// −ln(share of the n-gram) of every token of every sentence of the response.
struct Surprises<const N: usize>(Vec<Vec<f64>>);

impl<const N: usize> Surprises<N> {
    fn of(case: &Case<'_>) -> Result<Self, Missing> {
        let answers: Rc<Answers> = case.shared(Answers::of)?;
        let found = Self::among(&answers);
        if found.0.is_empty() { Err(Missing::Entries("response")) } else { Ok(found) }
    }

    fn among(answers: &Answers) -> Self {
        let mut all: Vec<[u32; N]> = answers.0.iter().flatten().flat_map(|sentence| grams(sentence)).collect();
        all.sort_unstable();
        let surprise = |gram: [u32; N]| (all.len() as f64 / count(&all, &gram) as f64).ln();
        let response = answers.0.first().into_iter().flatten();
        Self(response.map(|sentence| grams(sentence).map(surprise).collect()).collect())
    }
}

/// −ln(share of the n-gram among those of a passage and its samples) of every token of every sentence of the passage, for a passage that comes
/// with its sentences: `[sentences][tokens]`, nats.
pub fn sentence_surprises<const N: usize>(sentences: &[&str], samples: &[&str]) -> Vec<Vec<f64>> {
    Surprises::<N>::among(&Answers::new(sentences.to_vec(), samples.iter().copied())).0
}

/// The n-grams that end at each token of a sentence.
fn grams<const N: usize>(sentence: &[u32]) -> impl Iterator<Item = [u32; N]> {
    sentence.iter().scan([PAD; N], |gram, &token| {
        gram.rotate_left(1);
        gram[N - 1] = token;
        Some(*gram)
    })
}

/// How often an entry stands in a sorted list.
fn count<T: Ord>(sorted: &[T], entry: &T) -> usize {
    sorted.partition_point(|other| other <= entry) - sorted.partition_point(|other| other < entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Record, Sample};

    fn score(scorer: &dyn Scorer, response: &str, samples: &[&str]) -> f64 {
        let samples = samples.iter().map(|&text| Sample { text: text.into(), ..Sample::default() }).collect();
        let record = Record { response: response.into(), samples, ..Record::default() };
        scorer.score(&Case::new(&record)).expect("complete")
    }

    #[test]
    fn shares_of_words_in_closed_form() {
        // Of six words `rome` is four and `oslo` two.
        let (common, rare) = (1.5f64.ln(), 3f64.ln());
        let mean = score(&SelfcheckNgram::<1, false>, "Rome Oslo", &["rome rome", "Rome oslo"]);
        assert!((mean - (common + rare) / 2.0).abs() < 1e-12);
        let maximum = score(&SelfcheckNgram::<1, true>, "Rome Oslo", &["rome rome", "Rome oslo"]);
        assert!((maximum - rare).abs() < 1e-12);
    }

    #[test]
    fn padding_begins_every_sentence() {
        // Bigrams: (pad, a) four times, (a, b) twice, (a, c) and (a, d) once, of eight.
        let found = score(&SelfcheckNgram::<2, true>, "a b", &["a b", "A c\nA d"]);
        assert!((found - 4f64.ln()).abs() < 1e-12);
    }
}
