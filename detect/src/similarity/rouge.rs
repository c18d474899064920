//! Shared words, in order (ROUGE-L) or in any (ROUGE-1).

use ndarray::Array2;

use super::{BackendError, Similarity, all_pairs, in_common};
use crate::text::{Vocabulary, words};

/// ROUGE-L F1 (Lin 2004): harmonic mean of precision and recall of the longest common subsequence of words, as the `rouge_score` package
/// computes it for a sentence pair, without stemming (its default; a stemmer is tied to one language). Words are runs of letters and digits
/// in lower case: `rouge_score` on ASCII, and unlike it other scripts count as well. A text without words resembles only itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct RougeL;

/// ROUGE-1 F1 (Lin 2004): harmonic mean of precision and recall of the words two texts share, each as often as both have it. Words as for
/// [`RougeL`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Rouge1;

impl Similarity for RougeL {
    fn name(&self) -> &'static str {
        "rouge_l"
    }

    fn matrix(&self, texts: &[&str]) -> Result<Array2<f64>, BackendError> {
        let (words, distinct) = numbered(texts);
        let mut places = Places::new(distinct);
        Ok(all_pairs(texts.len(), |i, j| {
            if texts[i] == texts[j] {
                return 1.0;
            }
            let common = places.of(i, &words[i]).longest_common_subsequence(&words[j]);
            f1(common, words[i].len(), words[j].len())
        }))
    }
    fn to_each(&self, text: &str, others: &[&str]) -> Result<Vec<f64>, BackendError> {
        let texts: Vec<&str> = std::iter::once(text).chain(others.iter().copied()).collect();
        let (words, distinct) = numbered(&texts);
        let mut places = Places::new(distinct);
        let own = places.of(0, &words[0]);
        let mut to = |(other, theirs): (&&str, &Vec<u32>)| {
            if *other == text { 1.0 } else { f1(own.longest_common_subsequence(theirs), words[0].len(), theirs.len()) }
        };
        Ok(others.iter().zip(&words[1..]).map(&mut to).collect())
    }
}

impl Similarity for Rouge1 {
    fn name(&self) -> &'static str {
        "rouge_1"
    }

    fn matrix(&self, texts: &[&str]) -> Result<Array2<f64>, BackendError> {
        let mut words = numbered(texts).0;
        words.iter_mut().for_each(|text| text.sort_unstable());
        let common = |i: usize, j: usize| in_common(&words[i], &words[j]);
        Ok(all_pairs(texts.len(), |i, j| if texts[i] == texts[j] { 1.0 } else { f1(common(i, j), words[i].len(), words[j].len()) }))
    }
}

/// The numbered words of every text, and how many distinct ones there are.
fn numbered(texts: &[&str]) -> (Vec<Vec<u32>>, usize) {
    let lower: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
    let mut vocabulary = Vocabulary::default();
    let numbers = lower.iter().map(|text| vocabulary.number(words(text))).collect();
    (numbers, vocabulary.len())
}

/// 2PR / (P + R), which is 2 · common / (a + b); 0 where nothing is common.
fn f1(common: usize, a: usize, b: usize) -> f64 {
    if common == 0 { 0.0 } else { 2.0 * common as f64 / (a + b) as f64 }
}

/// Where each word stands in one text, a bit a place, for the longest common subsequence by words of 64 places at once (Hyyrö 2004, Bit-parallel
/// LCS-length computation revisited).
struct Places {
    text: Option<usize>,
    length: usize,
    blocks: usize,
    /// `[words, blocks]`.
    bits: Vec<u64>,
    distinct: usize,
    /// Bit p is 0 where the length grows at place p.
    row: Vec<u64>,
}

impl Places {
    fn new(distinct: usize) -> Self {
        Self { text: None, length: 0, blocks: 0, bits: Vec::new(), distinct, row: Vec::new() }
    }

    /// The places of a text's words; kept until another text is asked for.
    fn of(&mut self, text: usize, words: &[u32]) -> &mut Self {
        if self.text != Some(text) {
            (self.text, self.length, self.blocks) = (Some(text), words.len(), words.len().div_ceil(64));
            self.bits.clear();
            self.bits.resize(self.distinct * self.blocks, 0);
            words.iter().enumerate().for_each(|(place, &word)| self.bits[word as usize * self.blocks + place / 64] |= 1 << (place % 64));
        }
        self
    }

    fn longest_common_subsequence(&mut self, other: &[u32]) -> usize {
        self.row.clear();
        self.row.resize(self.blocks, u64::MAX);
        for &word in other {
            let at = word as usize * self.blocks;
            let mut carry = false;
            for (row, bits) in self.row.iter_mut().zip(&self.bits[at..at + self.blocks]) {
                let matches = *row & bits;
                let (sum, over) = row.overflowing_add(matches);
                let (sum, over_again) = sum.overflowing_add(u64::from(carry));
                carry = over || over_again;
                *row = sum | (*row & !bits);
            }
        }
        (0..self.length).filter(|place| self.row[place / 64] >> (place % 64) & 1 == 0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;

    #[test]
    fn rouge_l_of_lin_2004() {
        // Section 3.1 of the paper: LCS("police killed the gunman", "police kill the gunman") = 3 of 4, "the gunman kill police" = 2 of 4.
        let matrix = RougeL.matrix(&["police killed the gunman", "Police kill the gunman.", "the gunman kill police"]).expect("no model");
        assert_eq!((matrix[[0, 1]], matrix[[0, 2]], matrix[[2, 0]]), (0.75, 0.5, 0.5));
    }

    #[test]
    fn rouge_1_counts_shared_words_in_any_order() {
        let matrix = Rouge1.matrix(&["the cat the dog", "The dog", "the the the"]).expect("no model");
        assert_eq!((matrix[[0, 1]], matrix[[0, 2]], matrix[[1, 2]]), (2.0 / 3.0, 4.0 / 7.0, 0.4));
    }

    #[test]
    fn texts_without_words_resemble_only_themselves() {
        assert_eq!(RougeL.matrix(&["?", "?", "!"]).expect("no model"), array![[1., 1., 0.], [1., 1., 0.], [0., 0., 1.]]);
        assert_eq!(Rouge1.matrix(&["?", "?", "!"]).expect("no model"), array![[1., 1., 0.], [1., 1., 0.], [0., 0., 1.]]);
        assert_eq!(RougeL.matrix(&["Токио", "токио", "Осака"]).expect("no model")[[0, 1]], 1.0);
    }

    /// The recurrence of Wagner and Fischer.
    fn by_recurrence(a: &[u32], b: &[u32]) -> usize {
        let mut longest = vec![vec![0; b.len() + 1]; a.len() + 1];
        for (i, x) in a.iter().enumerate() {
            for (j, y) in b.iter().enumerate() {
                longest[i + 1][j + 1] = if x == y { longest[i][j] + 1 } else { longest[i][j + 1].max(longest[i + 1][j]) };
            }
        }
        longest[a.len()][b.len()]
    }

    proptest! {
        #[test]
        fn bits_find_what_the_recurrence_finds(a in prop::collection::vec(0u32..9, 0..200), b in prop::collection::vec(0u32..9, 0..200)) {
            prop_assert_eq!(Places::new(9).of(0, &a).longest_common_subsequence(&b), by_recurrence(&a, &b));
        }
    }
}
