//! Words and tokens of a text, numbered so that scores compare integers: every text is taken apart once.

use std::collections::HashMap;

/// The distinct words of the texts at hand, numbered from 0 in order of first appearance.
#[derive(Debug, Default)]
pub(crate) struct Vocabulary<'a> {
    numbers: HashMap<&'a str, u32>,
}

impl<'a> Vocabulary<'a> {
    /// The words' numbers; new words get the next ones.
    pub(crate) fn number(&mut self, words: impl Iterator<Item = &'a str>) -> Vec<u32> {
        words
            .map(|word| {
                let next = self.numbers.len() as u32;
                *self.numbers.entry(word).or_insert(next)
            })
            .collect()
    }

    /// How many distinct words there are.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }
}

/// Runs of letters and digits: the words of ROUGE, in any script.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Runs of letters and digits, and every other character that is not white space by itself.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let run = if first.is_alphanumeric() { rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (token, after) = rest.split_at(run);
        rest = after;
        Some(token)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_apart() {
        assert_eq!(tokens(" l'été, 3.5 km ").collect::<Vec<_>>(), ["l", "'", "été", ",", "3", ".", "5", "km"]);
        assert_eq!(words("l'été, _3.5").collect::<Vec<_>>(), ["l", "été", "3", "5"]);
        assert_eq!(tokens(" \n").count(), 0);
    }

    #[test]
    fn a_word_keeps_its_number() {
        let mut vocabulary = Vocabulary::default();
        assert_eq!(vocabulary.number(["a", "b", "a"].into_iter()), [0, 1, 0]);
        assert_eq!((vocabulary.number(["b", "c"].into_iter()), vocabulary.len()), (vec![1, 2], 3));
    }
}
