//! Splitting a text into sentences, by rules: for judging an answer sentence by sentence, no model is needed to find where they end.
//!
//! Unicode's boundaries (UAX 29) break after `Dr.` and `U.S.`; these rules know the usual abbreviations of English, initials, decimals,
//! numbered lists and quotes, and break at every end of line.

use std::ops::Range;

/// Never the last word of a sentence: titles and what introduces something.
const BEFORE_A_WORD: [&str; 24] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "rev", "gen", "col", "capt", "lt", "sgt", "hon", "gov", "sen", "rep", "pres", "e.g", "i.e",
    "vs", "cf", "al", "mt", "messrs",
];

/// Abbreviations where a number follows, words or ends where not.
const BEFORE_A_NUMBER: [&str; 10] = ["no", "nos", "fig", "figs", "vol", "p", "pp", "ch", "sec", "eq"];

/// Words that begin a sentence rather than a name: they decide after initials and acronyms, which may stand at an end.
const BEGINNINGS: [&str; 16] =
    ["the", "a", "an", "he", "she", "it", "they", "we", "you", "this", "that", "these", "those", "in", "but", "however"];

/// Byte ranges of the sentences of `text`, in order, without white space around them; none of a blank text.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let (mut found, mut start) = (Vec::new(), 0);
    let mut places = text.char_indices().peekable();
    while let Some((place, character)) = places.next() {
        let end = if character == '\n' { Some(place) } else { ends_at(text, start, place, character) };
        if let Some(end) = end {
            found.extend(trimmed(text, start..end));
            start = end;
            while places.next_if(|(next, _)| *next < end).is_some() {}
        }
    }
    found.extend(trimmed(text, start..text.len()));
    found
}

/// The sentences themselves.
pub fn parts(text: &str) -> impl Iterator<Item = &str> {
    sentences(text).into_iter().map(|range| &text[range])
}

/// Where the sentence that began at `start` ends, if the mark at `place` ends it: after closing quotes and brackets.
fn ends_at(text: &str, start: usize, place: usize, mark: char) -> Option<usize> {
    if matches!(mark, '。' | '！' | '？') {
        return Some(after(text, place + mark.len_utf8()));
    }
    if !is_mark(mark) {
        return None;
    }
    let marks = text[place..].chars().take_while(|&next| is_mark(next)).map(char::len_utf8).sum::<usize>();
    let end = after(text, place + marks);
    let rest = &text[end..];
    let next = rest.trim_start();
    let (apart, goes_on) = (rest.is_empty() || next.len() < rest.len(), next.starts_with(char::is_lowercase));
    let single = mark == '.' && marks == 1 && end == place + 1;
    (apart && !goes_on && !(single && abbreviates(&text[start..place], next))).then_some(end)
}

fn is_mark(character: char) -> bool {
    matches!(character, '.' | '!' | '?' | '…')
}

/// The place behind closing quotes and brackets that stand at `place`.
fn after(text: &str, place: usize) -> usize {
    let closing = |character: &char| matches!(character, '"' | '\'' | '”' | '’' | ')' | ']' | '}' | '»' | '」' | '』');
    place + text[place..].chars().take_while(closing).map(char::len_utf8).sum::<usize>()
}

/// Whether a full stop after `before`, the sentence so far, belongs to its last word, where `next` follows.
fn abbreviates(before: &str, next: &str) -> bool {
    let word = before.rsplit(char::is_whitespace).next().unwrap_or_default().trim_start_matches(|c: char| !c.is_alphanumeric());
    let lower = word.to_lowercase();
    let item = before.trim() == word && !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
    let begins =
        || next.split(|c: char| !c.is_alphabetic()).next().is_some_and(|first| BEGINNINGS.contains(&first.to_lowercase().as_str()));
    let of_a_number = BEFORE_A_NUMBER.contains(&lower.as_str()) && next.starts_with(|c: char| c.is_ascii_digit());
    let follows = !next.is_empty();
    follows && (item || of_a_number || BEFORE_A_WORD.contains(&lower.as_str()) || initials(word) && !begins())
}

/// A capital letter alone, or single letters between full stops.
fn initials(word: &str) -> bool {
    word != "I" && word.split('.').all(|part| part.chars().count() == 1 && part.chars().all(char::is_alphabetic)) && {
        word.contains('.') || word.chars().all(char::is_uppercase)
    }
}

/// A range without white space around it, unless nothing is left.
fn trimmed(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    let end = start + part.trim().len();
    (start < end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn splits(text: &str, expected: &[&str]) {
        let found: Vec<&str> = sentences(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn marks_end_sentences() {
        splits("One. Two! Three? Four", &["One.", "Two!", "Three?", "Four"]);
        splits("  Really?!  Yes...  Then so be it.\t", &["Really?!", "Yes...", "Then so be it."]);
        splits("東京です。大阪です。", &["東京です。", "大阪です。"]);
    }

    #[test]
    fn abbreviations_quotes_and_lines_at_once() {
        let text = "Dr. who? He said \"No.\" It was 3.5 km, e.g. there\nNext line… “Yes!”";
        let expected = ["Dr. who?", "He said \"No.\"", "It was 3.5 km, e.g. there", "Next line…", "“Yes!”"];
        assert_eq!(parts(text).collect::<Vec<_>>(), expected);
        assert_eq!(parts(" \n ").count(), 0);
    }

    #[test]
    fn a_text_without_an_end_is_one_sentence() {
        splits("Paris", &["Paris"]);
        splits("", &[]);
        splits(" \n\t ", &[]);
        splits("...", &["..."]);
    }

    #[test]
    fn abbreviations_end_none() {
        splits("Dr. Smith met Mrs. Jones at St. Mary's. They spoke.", &["Dr. Smith met Mrs. Jones at St. Mary's.", "They spoke."]);
        splits("See Fig. 3, i.e. Smith et al. Then stop.", &["See Fig. 3, i.e. Smith et al. Then stop."]);
        splits("J. K. Rowling lives. George W. Bush paints.", &["J. K. Rowling lives.", "George W. Bush paints."]);
        splits("He moved to the U.S. He stayed.", &["He moved to the U.S.", "He stayed."]);
        splits("The U.S. Senate voted at 5 p.m. on Monday.", &["The U.S. Senate voted at 5 p.m. on Monday."]);
        splits("No. It is not. See no. 4.", &["No.", "It is not.", "See no. 4."]);
        splits("It was me and I. Then he came.", &["It was me and I.", "Then he came."]);
    }

    #[test]
    fn decimals_and_addresses_are_whole() {
        splits("Pi is 3.14 or so. Visit example.org today.", &["Pi is 3.14 or so.", "Visit example.org today."]);
        splits("It grew by 2.5. That was in 1990. Then it fell.", &["It grew by 2.5.", "That was in 1990.", "Then it fell."]);
    }

    #[test]
    fn quotes_and_brackets_belong_to_their_sentence() {
        splits("She said \"Stop.\" He did.", &["She said \"Stop.\"", "He did."]);
        splits("“Why?” he asked. (It was late.) Nobody knew.", &["“Why?” he asked.", "(It was late.)", "Nobody knew."]);
    }

    #[test]
    fn lines_and_list_items_are_sentences() {
        splits("A list:\n1. Paris\n2. Rome is old. Very.\n", &["A list:", "1. Paris", "2. Rome is old.", "Very."]);
    }

    proptest! {
        #[test]
        fn nothing_but_white_space_is_lost(text in "[a-zA-Z0-9 .!?…\"”)\\n東。I]{0,60}") {
            let ranges = sentences(&text);
            prop_assert!(ranges.is_sorted_by(|a, b| a.end <= b.start));
            let kept: String = ranges.iter().map(|range| &text[range.clone()]).collect();
            let bare = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(bare(&kept), bare(&text));
            prop_assert!(ranges.iter().all(|range| !range.is_empty() && text[range.clone()].trim() == &text[range.clone()]));
        }

        #[test]
        fn any_text_is_split_without_panic(text in "\\PC{0,40}") {
            prop_assert!(sentences(&text).iter().all(|range| text.is_char_boundary(range.start) && text.is_char_boundary(range.end)));
        }
    }
}
