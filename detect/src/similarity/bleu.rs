//! BLEU of two texts. It is no [`Similarity`](super::Similarity): swapping reference and hypothesis changes it.

use super::in_common;

const ORDERS: usize = 4;

/// The n-grams of a text, n = 1 to 4, sorted.
#[derive(Debug)]
pub(crate) struct Grams {
    length: usize,
    sorted: [Vec<u128>; ORDERS],
}

impl Grams {
    /// From the numbers of the text's words.
    pub(crate) fn new(words: &[u32]) -> Self {
        let of_order = |n: usize| {
            let mut grams: Vec<u128> =
                words.windows(n).map(|gram| gram.iter().fold(0, |key, &word| key << 32 | u128::from(word))).collect();
            grams.sort_unstable();
            grams
        };
        Self { length: words.len(), sorted: [1, 2, 3, 4].map(of_order) }
    }
}

/// BLEU (Papineni et al. 2002) of a hypothesis against one reference, as nltk 3.10's `sentence_bleu` without smoothing computes it with the
/// weights of LM-Polygraph's `LexicalSimilarity`: by the shorter text's words 1; ½, ½; 0.33 thrice; from four words on ¼ each. An order with no
/// match counts as the smallest normal float, so that the score is 0 to 75 digits.
pub(crate) fn sentence_bleu(reference: &Grams, hypothesis: &Grams) -> f64 {
    let weights: &[f64] = match reference.length.min(hypothesis.length) {
        1 => &[1.0],
        2 => &[0.5; 2],
        3 => &[0.33; 3],
        _ => &[0.25; 4],
    };
    let matches = matches(reference, hypothesis, weights.len());
    if matches[0] == 0 {
        return 0.0;
    }
    let precision = |n: usize| (matches[n] as f64 / hypothesis.sorted[n].len().max(1) as f64).max(f64::MIN_POSITIVE);
    let log_mean: f64 = weights.iter().enumerate().map(|(n, weight)| weight * precision(n).ln()).sum();
    brevity_penalty(reference.length, hypothesis.length) * log_mean.exp()
}

/// How many n-grams of the hypothesis the reference has too, for n = 1 to `orders`: none of n words where there are none of fewer.
fn matches(reference: &Grams, hypothesis: &Grams, orders: usize) -> [usize; ORDERS] {
    let mut found = [0; ORDERS];
    for (n, found) in found.iter_mut().enumerate().take(orders) {
        *found = in_common(&reference.sorted[n], &hypothesis.sorted[n]);
        if *found == 0 {
            break;
        }
    }
    found
}

fn brevity_penalty(reference: usize, hypothesis: usize) -> f64 {
    if hypothesis > reference { 1.0 } else { (1.0 - reference as f64 / hypothesis as f64).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bleu(reference: &[u32], hypothesis: &[u32]) -> f64 {
        sentence_bleu(&Grams::new(reference), &Grams::new(hypothesis))
    }

    #[test]
    fn short_texts_in_closed_form() {
        assert_eq!(bleu(&[1, 2, 3, 4], &[1, 2, 3, 4]), 1.0);
        assert_eq!((bleu(&[1], &[2]), bleu(&[], &[1]), bleu(&[1], &[]), bleu(&[], &[])), (0.0, 0.0, 0.0, 0.0));
        // Precisions 3/3 and 1/2 of a hypothesis of 3 words, no match of order 3: the score vanishes.
        assert!(bleu(&[1, 2, 9, 3], &[1, 2, 3]) < 1e-75);
        // One word of two, and shorter by half: p1 = 1, penalty exp(1 - 2).
        assert!((bleu(&[1, 2], &[1]) - (-1f64).exp()).abs() < 1e-15);
        // Longer than the reference: p1 = 2/3, p2 = 1/2, no penalty.
        assert!((bleu(&[1, 2], &[1, 2, 3]) - (2.0f64 / 3.0 * 0.5).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn a_repeated_word_matches_as_often_as_the_reference_has_it() {
        // The example of the paper: seven times `the` against two.
        let weights_of_one_word_each = bleu(&[7], &[7; 7]);
        assert!((weights_of_one_word_each - 1.0 / 7.0).abs() < 1e-15);
    }
}
