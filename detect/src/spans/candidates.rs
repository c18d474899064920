//! What is likely to be made up when anything is: names, numbers and dates, found by how they are written.
//!
//! Capitals decide on names, so that scripts without them have none, and month names are English.

use std::ops::Range;

use serde::{Deserialize, Serialize};

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

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

/// Words within names that are not capitalised.
const WITHIN_NAMES: [&str; 11] = ["of", "the", "de", "la", "du", "von", "van", "der", "di", "da", "del"];

/// Words that follow a number as a part of it.
const SCALES: [&str; 6] = ["hundred", "thousand", "million", "billion", "trillion", "percent"];

/// Words that are capitalised for beginning a sentence.
const BEGINNINGS: [&str; 58] = [
    "the", "a", "an", "he", "she", "it", "they", "we", "you", "this", "that", "these", "those", "his", "her", "its", "their", "our", "my",
    "your", "in", "on", "at", "by", "for", "from", "with", "as", "of", "to", "under", "there", "here", "when", "while", "after", "before",
    "during", "since", "although", "though", "because", "however", "but", "and", "or", "if", "what", "who", "where", "why", "how", "which",
    "yes", "no", "not", "some", "one",
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
    let (mut found, mut at) = (Vec::new(), 0);
    while at < words.len() {
        let here = &words[at..];
        let read = [(date(here), Kind::Date), (number(here), Kind::Number), (name(here, at == 0), Kind::Name)];
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

/// How many words are a date: `14 March 1879`, `March 14, 1879`, `March`, `1879-03-14`, `1879`, `1870s`.
fn date(words: &[Word<'_>]) -> usize {
    let is = |at: usize, what: fn(&str) -> bool| words.get(at).is_some_and(|word| what(word.text));
    let (before, month) = (usize::from(is(0, is_day) && is(1, is_month)), is(0, is_month) || is(0, is_day) && is(1, is_month));
    if !month {
        return usize::from(is(0, is_year) || is(0, is_whole_date));
    }
    let after = before + 1;
    let day = usize::from(before == 0 && is(after, is_day));
    after + day + usize::from(is(after + day, is_year))
}

fn is_month(word: &str) -> bool {
    MONTHS.contains(&word)
}

fn is_day(word: &str) -> bool {
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(word);
    is_digits(digits) && digits.parse::<u8>().is_ok_and(|day| (1..=31).contains(&day))
}

fn is_year(word: &str) -> bool {
    let digits = word.strip_suffix('s').unwrap_or(word);
    digits.len() == 4 && is_digits(digits) && digits.parse::<u16>().is_ok_and(|year| (1000..2100).contains(&year))
}

/// Three numbers between hyphens, slashes or full stops, one of them a year.
fn is_whole_date(word: &str) -> bool {
    ['-', '/', '.'].into_iter().any(|mark| {
        let parts: Vec<&str> = word.split(mark).collect();
        parts.len() == 3 && parts.iter().all(|part| is_digits(part)) && (is_year(parts[0]) || is_year(parts[2]))
    })
}

fn is_digits(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
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
    fn dates_come_in_several_orders() {
        use Kind::{Date, Number};
        finds(
            "on 14 March 1879 or March 14th, 1879, then May 1900",
            &[("14 March 1879", Date), ("March 14th, 1879", Date), ("May 1900", Date)],
        );
        finds("1879-03-14 in the 1870s, not 2500", &[("1879-03-14", Date), ("1870s", Date), ("2500", Number)]);
        finds("in march with 3 May flowers of June", &[("3 May", Date), ("June", Date)]);
    }

    #[test]
    fn numbers_keep_their_scale() {
        use Kind::Number;
        finds("$1,200 of 3.5 million, 12% or 4th", &[("$1,200", Number), ("3.5 million", Number), ("12%", Number), ("4th", Number)]);
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
