//! Clauses of a sentence, by rules: the claims that can be told apart without a model.
//!
//! A sentence is cut behind `;`, before a comma's conjunction where a clause follows (an enumeration stays whole), and around relative clauses. What
//! can be a verb decides, from a list of English words and the ending -ed: other languages are cut at `;` alone. A clause is a part of the text
//! as it stands: one behind a conjunction or a relative pronoun has its subject further up.

use std::ops::Range;

use crate::text::words;

/// Conjunctions that are no part of the clause they lead to.
const CONJUNCTIONS: [&str; 6] = ["and", "but", "or", "nor", "yet", "so"];

/// Words that begin a clause of their own after a comma.
const SUBORDINATORS: [&str; 6] = ["while", "whereas", "although", "though", "because", "since"];

/// Words that say more of what stands before them.
const RELATIVES: [&str; 5] = ["who", "which", "whose", "whom", "where"];

/// Common finite verbs that do not end in -ed.
const VERBS: [&str; 76] = [
    "is", "are", "was", "were", "am", "has", "have", "had", "do", "does", "did", "will", "would", "can", "could", "may", "might", "must",
    "shall", "should", "became", "becomes", "began", "begins", "brought", "built", "came", "comes", "fell", "felt", "fought", "found",
    "gave", "gives", "goes", "got", "grew", "held", "holds", "includes", "kept", "knew", "led", "left", "lies", "lives", "lost", "made",
    "makes", "means", "met", "plays", "ran", "remains", "rose", "said", "saw", "says", "sent", "sold", "spent", "spoke", "stands", "stood",
    "taught", "takes", "thought", "told", "took", "went", "won", "wore", "works", "writes", "wrote", "contains",
];

/// Byte ranges of the clauses of the sentence at `sentence` of `text`, in order and apart from each other: at least one, unless the sentence is
/// blank.
pub(super) fn clauses(text: &str, sentence: &Range<usize>) -> Vec<Range<usize>> {
    let marks = marks(text, sentence);
    let (mut found, mut start) = (Vec::new(), sentence.start);
    let mut clause = Clause { verb: has_verb(&text[start..marks.first().copied().unwrap_or(sentence.end)]), inserted: false };
    for (&mark, &next) in marks.iter().zip(marks.iter().skip(1).chain([&sentence.end])) {
        let after = &text[mark + 1..next];
        let ends = text[mark..].starts_with(';') || clause.ends_before(after);
        clause.go_on(after, ends);
        if ends {
            found.extend(trimmed(text, start..mark));
            start = mark + 1 + conjunction(&text[mark + 1..sentence.end]);
        }
    }
    found.extend(trimmed(text, start..sentence.end));
    found
}

/// What is known of the clause so far.
struct Clause {
    /// It has a verb.
    verb: bool,
    /// A relative clause stands in it whose subject has no verb yet.
    inserted: bool,
}

impl Clause {
    /// Whether it ends before a comma and `after`, which reaches to the next mark.
    fn ends_before(&self, after: &str) -> bool {
        let (first, relative) = (first_word(after), is_relative(after));
        let leads = CONJUNCTIONS.contains(&first.as_str()) || SUBORDINATORS.contains(&first.as_str());
        let apart = self.verb && (relative || leads && has_verb(after));
        apart || self.inserted && !leads && !relative
    }

    /// Takes in `after`, which begins another clause where this one ends.
    fn go_on(&mut self, after: &str, ends: bool) {
        self.inserted = !ends && (self.inserted || is_relative(after));
        self.verb = has_verb(after) || !ends && self.verb;
    }
}

fn is_relative(piece: &str) -> bool {
    RELATIVES.contains(&first_word(piece).as_str())
}

/// Places of commas and semicolons that white space and more of the sentence follow.
fn marks(text: &str, sentence: &Range<usize>) -> Vec<usize> {
    let part = &text[sentence.clone()];
    let ends = |place: usize| part[place + 1..].starts_with(char::is_whitespace);
    part.match_indices([',', ';']).map(|(place, _)| place).filter(|&place| ends(place)).map(|place| sentence.start + place).collect()
}

fn first_word(piece: &str) -> String {
    piece.split_whitespace().next().unwrap_or_default().to_lowercase()
}

fn has_verb(piece: &str) -> bool {
    words(piece).any(|word| VERBS.contains(&word) || word.len() > 3 && word.ends_with("ed") && word.starts_with(char::is_lowercase))
}

/// Bytes of the white space and conjunction that `rest` begins with.
fn conjunction(rest: &str) -> usize {
    let word = first_word(rest);
    let blank = rest.len() - rest.trim_start().len();
    if CONJUNCTIONS.contains(&word.as_str()) { blank + word.len() } else { blank }
}

/// A range without white space around it and marks behind it, unless nothing is left.
fn trimmed(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    let kept = part.trim_start().trim_end_matches(|c: char| c.is_whitespace() || matches!(c, ',' | ';'));
    (!kept.is_empty()).then(|| start..start + kept.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn splits(sentence: &str, expected: &[&str]) {
        let found: Vec<&str> = clauses(sentence, &(0..sentence.len())).into_iter().map(|range| &sentence[range]).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn conjunctions_and_semicolons_part_clauses() {
        splits("He was born in Ulm, and died in Princeton.", &["He was born in Ulm", "died in Princeton."]);
        splits("It was old; they sold it, but nobody came.", &["It was old", "they sold it", "nobody came."]);
        splits("He taught in Bern, while his wife studied.", &["He taught in Bern", "while his wife studied."]);
    }

    #[test]
    fn enumerations_stay_whole() {
        splits("He met John, Paul, and George in 1960.", &["He met John, Paul, and George in 1960."]);
        splits("France, Spain, and Italy are warm.", &["France, Spain, and Italy are warm."]);
        splits("It cost 1,200 dollars, or more.", &["It cost 1,200 dollars, or more."]);
    }

    #[test]
    fn relative_clauses_are_claims() {
        splits("Einstein, who was born in Ulm, died in Princeton.", &["Einstein, who was born in Ulm", "died in Princeton."]);
        splits("He moved to Berlin, where he met Haber.", &["He moved to Berlin", "where he met Haber."]);
        splits("She met George, who played, and they married.", &["She met George", "who played", "they married."]);
    }

    #[test]
    fn a_sentence_without_inner_marks_is_one_clause() {
        splits("Paris", &["Paris"]);
        splits("東京、大阪。", &["東京、大阪。"]);
        splits(" ", &[]);
        splits("Well, ;", &["Well"]);
    }

    proptest! {
        #[test]
        fn clauses_are_in_order_and_whole_characters(text in "(,|;| |and|who|é|was|ended|東|[a-z]){0,40}") {
            let found = clauses(&text, &(0..text.len()));
            prop_assert!(found.is_sorted_by(|a, b| a.end <= b.start));
            prop_assert!(found.iter().all(|range| text.get(range.clone()).is_some_and(|part| !part.is_empty() && part.trim() == part)));
        }
    }
}
