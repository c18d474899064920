//! Places in a text in characters, from places in bytes.

use std::ops::Range;

/// Where every character of a text begins.
pub(super) struct Characters(Vec<usize>);

impl Characters {
    pub(super) fn of(text: &str) -> Self {
        Self(text.char_indices().map(|(place, _)| place).collect())
    }

    /// The range in characters (Unicode scalar values, as Python counts them) of a range in bytes.
    pub(super) fn range(&self, bytes: &Range<usize>) -> Range<usize> {
        self.before(bytes.start)..self.before(bytes.end)
    }

    fn before(&self, byte: usize) -> usize {
        self.0.partition_point(|&place| place < byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wide_characters_count_once() {
        let text = "é🙂 東";
        let place = text.find('東').expect("there");
        assert_eq!(Characters::of(text).range(&(place..text.len())), 3..4);
        assert_eq!(Characters::of("").range(&(0..0)), 0..0);
    }

    proptest! {
        #[test]
        fn characters_skipped_and_taken_are_the_slice(text in "\\PC{1,30}", from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
            let mut places: Vec<usize> = text.char_indices().map(|(place, _)| place).chain([text.len()]).collect();
            places.sort_unstable();
            let (a, b) = (places[from.index(places.len())], places[to.index(places.len())]);
            let bytes = a.min(b)..a.max(b);
            let range = Characters::of(&text).range(&bytes);
            let taken: String = text.chars().skip(range.start).take(range.len()).collect();
            prop_assert_eq!(taken.as_str(), &text[bytes]);
        }
    }
}
