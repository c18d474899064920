//! Claim-conditioned probability: unsure of *what* it says, not of how to say it.
//!
//! At every token the alternatives that would have said the same are added to the token's probability, and those that would have said another
//! kind of thing are left out; what remains is doubt between claims. As LM-Polygraph's sequence-level estimator: single words are judged
//! without their context, no function words are skipped (the paper skips them when it scores claims).

use crate::entailment::Judgement;
use crate::record::Record;
use crate::scores::{Card, Case, Cost, Missing, Scorer, inputs};

use super::log_sum_exp::log_sum_exp;
use super::relevance::TOKEN_TEXTS;

/// Alternatives at each token, the token itself included.
const ALTERNATIVES: usize = 10;
const UNEQUAL: &str = "one entry of token_texts, top_logprobs and top_texts for every one of token_logprobs";

/// −Π_t CCP_t, CCP_t = Σ P(token and alternatives that it entails) / Σ P(those and alternatives that it contradicts).
pub(super) struct Ccp;

impl Scorer for Ccp {
    fn card(&self) -> &'static Card {
        &Card {
            name: "ccp",
            needs: &[inputs::TOKEN_LOGPROBS, TOKEN_TEXTS, "top_logprobs", "top_texts"],
            cost: Cost::Comparison,
            citation: "Fadeeva et al. 2024 (arXiv 2403.04696), as in LM-Polygraph ClaimConditionedProbability",
            summary: "negated product over tokens of the probability of the same meaning among alternatives of the same kind",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let positions = positions(case.record)?;
        let pairs: Vec<(&str, &str)> = positions.iter().flat_map(Position::pairs).collect();
        let judged = case.judge(&pairs)?;
        let mut rest = judged.as_slice();
        let mut next = |position: &Position<'_>| {
            let (own, after) = rest.split_at(2 * position.others.len());
            rest = after;
            position.log_ccp(own)
        };
        Ok(-positions.iter().map(&mut next).sum::<f64>().exp())
    }
}

/// A token of the response among its alternatives; words stripped of punctuation and spaces at both ends.
struct Position<'a> {
    word: &'a str,
    logprob: f64,
    others: Vec<(&'a str, f64)>,
}

impl<'a> Position<'a> {
    /// The word before each alternative, and each alternative before the word.
    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let word = self.word;
        self.others.iter().flat_map(move |&(other, _)| [(word, other), (other, word)]).collect::<Vec<_>>().into_iter()
    }

    /// ln CCP_t, from two judgements an alternative, there and back.
    fn log_ccp(&self, judged: &[Judgement]) -> f64 {
        let relations = judged.chunks_exact(2).map(|both| relation(&both[0], &both[1]));
        let of = |kind: Relation| self.others.iter().zip(relations.clone()).filter(move |(_, found)| *found == kind).map(|((_, p), _)| *p);
        let same = log_sum_exp(of(Relation::Entails).chain([self.logprob]));
        same - log_sum_exp([same].into_iter().chain(of(Relation::Contradicts)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Entails,
    Neutral,
    Contradicts,
}

/// One relation from both directions: the decided one where the other is neutral; neutral where they disagree.
fn relation(there: &Judgement, back: &Judgement) -> Relation {
    match (there.entails() || back.entails(), there.contradicts() || back.contradicts()) {
        (true, false) => Relation::Entails,
        (false, true) => Relation::Contradicts,
        _ => Relation::Neutral,
    }
}

fn positions(record: &Record) -> Result<Vec<Position<'_>>, Missing> {
    let logprobs = inputs::logprobs(record)?;
    let words = record.token_texts.as_deref().ok_or(Missing::Field(TOKEN_TEXTS))?;
    let top = record.top_logprobs.as_deref().ok_or(Missing::Field("top_logprobs"))?;
    let texts = record.top_texts.as_deref().ok_or(Missing::Field("top_texts"))?;
    let alike = [words.len(), top.len(), texts.len()].iter().all(|&len| len == logprobs.len());
    if !alike || top.iter().zip(texts).any(|(top, texts)| top.len() != texts.len()) {
        return Err(Missing::Field(UNEQUAL));
    }
    let position = |t: usize| Position { word: strip(&words[t]), logprob: logprobs[t], others: others(&words[t], &top[t], &texts[t]) };
    Ok((0..logprobs.len()).map(position).collect())
}

/// The likeliest alternatives but the token itself.
fn others<'a>(word: &str, top: &[(i64, f64)], texts: &'a [String]) -> Vec<(&'a str, f64)> {
    let mut others: Vec<(&str, f64)> =
        texts.iter().zip(top).filter(|(text, _)| *text != word).map(|(text, &(_, logprob))| (strip(text), logprob)).collect();
    others.sort_by(|a, b| b.1.total_cmp(&a.1));
    others.truncate(ALTERNATIVES - 1);
    others
}

fn strip(word: &str) -> &str {
    word.trim_matches(|c: char| c == ' ' || c == '\n' || c.is_ascii_punctuation())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTAILS: Judgement = Judgement { entailment: 0.8, neutral: 0.1, contradiction: 0.1 };
    const NEUTRAL: Judgement = Judgement { entailment: 0.1, neutral: 0.8, contradiction: 0.1 };
    const CONTRADICTS: Judgement = Judgement { entailment: 0.1, neutral: 0.1, contradiction: 0.8 };

    #[test]
    fn directions_combine() {
        assert_eq!(relation(&ENTAILS, &NEUTRAL), Relation::Entails);
        assert_eq!(relation(&NEUTRAL, &CONTRADICTS), Relation::Contradicts);
        assert_eq!(relation(&ENTAILS, &CONTRADICTS), Relation::Neutral);
        assert_eq!(relation(&NEUTRAL, &NEUTRAL), Relation::Neutral);
    }

    #[test]
    fn alternatives_of_the_same_meaning_add_up_and_other_kinds_are_left_out() {
        // p = 0.4 itself, 0.2 the same, 0.3 another claim, 0.1 another kind: (0.4 + 0.2) / (0.4 + 0.2 + 0.3).
        let others = vec![("a", 0.2f64.ln()), ("b", 0.3f64.ln()), ("c", 0.1f64.ln())];
        let position = Position { word: "w", logprob: 0.4f64.ln(), others };
        let judged = [ENTAILS, NEUTRAL, CONTRADICTS, CONTRADICTS, NEUTRAL, NEUTRAL];
        assert!((position.log_ccp(&judged) - (0.6f64 / 0.9).ln()).abs() < 1e-15);
    }

    #[test]
    fn the_token_is_not_its_own_alternative() {
        let texts = [" Paris", " Rome,", "\nOslo"].map(str::to_owned);
        assert_eq!(others(" Paris", &[(1, -0.1), (2, -3.0), (3, -2.0)], &texts), [("Oslo", -2.0), ("Rome", -3.0)]);
    }
}
