//! What is likely to be made up when anything is: names, numbers and dates, found by how they are written.
//!
//! Capitals decide on names, so that scripts without them have none.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::dates::{date, is_digits};

/// What a span holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Capitalised words.
    Name,
    /// Digits with what they count in.
    Number,
    /// A day, a month or a year.
    Date,
}

/// Words within names that are not capitalised.
const WITHIN_NAMES: [&str; 11] = ["of", "the", "de", "la", "du", "von", "van", "der", "di", "da", "del"];

/// Words that follow a number as a part of it.
const SCALES: [&str; 6] = ["hundred", "thousand", "million", "billion", "trillion", "percent"];

/// Words that are capitalised for beginning a sentence.
const BEGINNINGS: [&str; 87] = [
    "the", "a", "an", "he", "she", "it", "they", "we", "you", "this", "that", "these", "those", "his", "her", "its", "their", "our", "my",
    "your", "in", "on", "at", "by", "for", "from", "with", "as", "of", "to", "under", "over", "into", "about", "between", "among",
    "through", "there", "here", "when", "while", "after", "before", "during", "until", "since", "although", "though", "because", "however",
    "but", "and", "or", "so", "if", "then", "thus", "also", "what", "who", "where", "why", "how", "which", "yes", "no", "not", "some",
    "any", "many", "most", "all", "both", "each", "every", "several", "few", "other", "another", "nobody", "everyone", "someone", "one",
    "today", "overall", "finally", "first",
];

/// A word of a sentence, without the marks around it.
struct Word<'a> {
    range: Range<usize>,
    text: &'a str,
    /// Marks stand before it.
    opens: bool,
    /// Marks other than a full stop stand behind it.
    closes: bool,
}

/// Names, numbers and dates of the sentence at `sentence` of `text`, in order and apart from each other, as byte ranges.
pub(super) fn candidates(text: &str, sentence: &Range<usize>) -> Vec<(Range<usize>, Kind)> {
    let words = split(text, sentence);
    let begins = usize::from(is_item(text, &words));
    let (mut found, mut at) = (Vec::new(), begins);
    while at < words.len() {
        let here = &words[at..];
        let read = [
            (date(|word| here.get(word).map(|word| word.text)), Kind::Date),
            (number(here), Kind::Number),
            (name(here, at == begins), Kind::Name),
        ];
        let (length, kind) = read.into_iter().find(|(length, _)| *length > 0).unwrap_or((0, Kind::Name));
        if length > 0 {
            found.push((here[0].range.start..here[length - 1].range.end, kind));
        }
        at += length.max(1);
    }
    found
}

fn split<'a>(text: &'a str, sentence: &Range<usize>) -> Vec<Word<'a>> {
    let part = &text[sentence.clone()];
    let offset = |word: &str| sentence.start + (word.as_ptr() as usize - part.as_ptr() as usize);
    part.split_whitespace().filter_map(|raw| bare(raw, offset(raw))).collect()
}

/// Whether the words begin with the number of an item of a list.
fn is_item(text: &str, words: &[Word<'_>]) -> bool {
    matches!(words, [first, _, ..] if is_digits(first.text) && text[first.range.end..].starts_with(['.', ')']))
}

/// A word without its marks and without a possessive ending; `None` of marks alone.
fn bare(raw: &str, offset: usize) -> Option<Word<'_>> {
    let inner = raw.trim_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '$' | '€' | '£' | '%'));
    let before = raw.find(inner)?;
    let text = inner.strip_suffix("'s").or_else(|| inner.strip_suffix("’s")).unwrap_or(inner);
    let behind = &raw[before + text.len()..];
    let start = offset + before;
    let closes = behind.chars().any(|c| c != '.');
    (!text.is_empty()).then(|| Word { range: start..start + text.len(), text, opens: before > 0, closes })
}

/// How many words are a number: `3.5`, `$1,200`, `12%`, `5 million`, `4th`.
fn number(words: &[Word<'_>]) -> usize {
    let starts = words[0].text.trim_start_matches(['$', '€', '£']).starts_with(|c: char| c.is_numeric());
    let scaled = starts && !words[0].closes && words.get(1).is_some_and(|word| SCALES.contains(&word.text));
    usize::from(starts) + usize::from(scaled)
}

/// How many words are a name: capitalised ones, and what stands between such.
fn name(words: &[Word<'_>], begins: bool) -> usize {
    let lower = words[0].text.to_lowercase();
    if !capital(&words[0]) || begins && BEGINNINGS.contains(&lower.as_str()) || lower == "i" || lower.starts_with("i'") {
        return 0;
    }
    let (mut length, mut at) = (1, 1);
    while at < words.len() && !words[at - 1].closes && !words[at].opens {
        at += 1;
        if capital(&words[at - 1]) {
            length = at;
        } else if !WITHIN_NAMES.contains(&words[at - 1].text) {
            break;
        }
    }
    length
}

fn capital(word: &Word<'_>) -> bool {
    word.text.starts_with(char::is_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn finds(sentence: &str, expected: &[(&str, Kind)]) {
        let found: Vec<(&str, Kind)> =
            candidates(sentence, &(0..sentence.len())).into_iter().map(|(range, kind)| (&sentence[range], kind)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn names_are_runs_of_capitals() {
        use Kind::Name;
        finds("He met Ludwig van Beethoven in Vienna.", &[("Ludwig van Beethoven", Name), ("Vienna", Name)]);
        finds(
            "The University of Oxford, Cambridge and J. K. Rowling's house.",
            &[("University of Oxford", Name), ("Cambridge", Name), ("J. K. Rowling", Name)],
        );
        finds("Élodie said I'm in “Paris” (France).", &[("Élodie", Name), ("Paris", Name), ("France", Name)]);
    }

    #[test]
    fn numbers_keep_their_scale() {
        use Kind::Number;
        finds("$1,200 of 3.5 million, 12% or 4th", &[("$1,200", Number), ("3.5 million", Number), ("12%", Number), ("4th", Number)]);
    }

    #[test]
    fn numbers_of_items_are_none_of_the_text() {
        finds("2. The Rhine is 1,233 km long.", &[("Rhine", Kind::Name), ("1,233", Kind::Number)]);
        finds("12) Bern", &[("Bern", Kind::Name)]);
        finds("1984.", &[("1984", Kind::Date)]);
    }

    #[test]
    fn plain_words_and_other_scripts_have_none() {
        finds("The cat sat on a mat.", &[]);
        finds("東京です。 ... — !", &[]);
        finds("", &[]);
    }

    proptest! {
        #[test]
        fn candidates_are_in_order_and_whole_characters(text in "( |,|\\.|'s|A|é|É|\\$|%|of|May|1900|3|[a-z]|東){0,40}") {
            let found = candidates(&text, &(0..text.len()));
            prop_assert!(found.is_sorted_by(|a, b| a.0.end <= b.0.start));
            prop_assert!(found.iter().all(|(range, _)| text.get(range.clone()).is_some_and(|part| !part.is_empty())));
        }
    }
}
