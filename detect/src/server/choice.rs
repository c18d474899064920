//! A choice among named options, read off an answer: by the probabilities of its first token where the server gives them, else by its first word.

use super::answer::{Answer, Trace};

/// Share of the first token's probability that the options must have between them; below it the token is no choice.
const COVERED: f64 = 0.5;

/// Probability of every option, summing to 1; `None` where the answer chooses none of them. A token stands for the option that it begins.
pub(super) fn shares(answer: &Answer, options: &[&str]) -> Option<Vec<f64>> {
    let masses = answer.trace.as_ref().and_then(first).map(|(logprobs, texts)| masses(logprobs, texts, options));
    let named = || option_of(answer.text.split_whitespace().next()?, options);
    match masses {
        Some(masses) if masses.iter().sum::<f64>() >= COVERED => {
            let sum = masses.iter().sum::<f64>();
            Some(masses.into_iter().map(|mass| mass / sum).collect())
        }
        _ => named().map(|option| (0..options.len()).map(|other| f64::from(u8::from(other == option))).collect()),
    }
}

type Alternatives<'a> = (&'a [(i64, f64)], &'a [String]);

/// The alternatives at the first token that is more than white space.
fn first(trace: &Trace) -> Option<Alternatives<'_>> {
    let place = trace.texts.as_ref()?.iter().position(|text| !text.trim().is_empty())?;
    Some((trace.top.get(place)?, trace.top_texts.get(place)?))
}

fn masses(logprobs: &[(i64, f64)], texts: &[String], options: &[&str]) -> Vec<f64> {
    let mut masses = vec![0.0; options.len()];
    for (&(_, logprob), text) in logprobs.iter().zip(texts) {
        if let Some(mass) = option_of(text, options).and_then(|option| masses.get_mut(option)) {
            *mass += logprob.exp();
        }
    }
    masses
}

/// The one option that a word or token begins, or that begins it; case, quotes and other marks around it do not matter.
fn option_of(word: &str, options: &[&str]) -> Option<usize> {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let fits = |option: &&str| option.to_lowercase().starts_with(&word) || word == option.to_lowercase();
    let mut fitting = options.iter().enumerate().filter(|(_, option)| fits(option)).map(|(place, _)| place);
    fitting.next().filter(|_| !word.is_empty() && fitting.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELATIONS: [&str; 3] = ["entailment", "neutral", "contradiction"];

    fn answer(text: &str, top: &[(&str, f64)]) -> Answer {
        let trace = Trace {
            texts: Some(vec!["\n".into(), text.into()]),
            top: vec![vec![], top.iter().map(|(_, probability)| (-1, probability.ln())).collect()],
            top_texts: vec![vec![], top.iter().map(|(text, _)| (*text).to_owned()).collect()],
            ..Trace::default()
        };
        Answer { text: text.into(), trace: Some(trace), ..Answer::default() }
    }

    #[test]
    fn the_first_token_shares_itself_among_the_options() {
        let found = shares(&answer("Ent", &[(" Ent", 0.5), ("ent", 0.1), ("Neutral", 0.2), ("The", 0.1)]), &RELATIONS).expect("a choice");
        assert!(found.iter().zip([0.75, 0.25, 0.0]).all(|(found, expected)| (found - expected).abs() < 1e-12), "{found:?}");
    }

    #[test]
    fn without_probabilities_the_first_word_decides() {
        let plain = |text: &str| Answer { text: text.into(), ..Answer::default() };
        assert_eq!(shares(&plain("**Contradiction**, clearly"), &RELATIONS), Some(vec![0.0, 0.0, 1.0]));
        assert_eq!(shares(&plain("no."), &["Yes", "No"]), Some(vec![0.0, 1.0]));
        assert_eq!(shares(&plain("I cannot say"), &RELATIONS), None);
        assert_eq!(shares(&plain(""), &RELATIONS), None);
        assert_eq!(shares(&plain("nobody"), &["Yes", "No"]), None);
    }

    #[test]
    fn a_token_that_is_no_choice_gives_way_to_the_word() {
        assert_eq!(shares(&answer("Yes", &[("Well", 0.9), ("Yes", 0.05)]), &["Yes", "No"]), Some(vec![1.0, 0.0]));
        assert_eq!(shares(&answer("Well", &[("Well", 0.9)]), &["Yes", "No"]), None);
    }
}
