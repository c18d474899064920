//! How alike answers are: similarity back-ends, matrices of all pairs, and clusters of equivalent answers.
//!
//! A back-end fills a whole matrix at once, so that one which runs a model can batch the pairs.

use ndarray::Array2;
use rayon::prelude::*;

/// Similarity of texts.
pub trait Similarity: Sync {
    /// The back-end's name.
    fn name(&self) -> &'static str;
    /// Similarity of all pairs, `[n, n]`: in 0 to 1, symmetric, 1 on the diagonal.
    fn matrix(&self, texts: &[&str]) -> Array2<f64>;
}

/// 1 for texts that are the same after [`normalise`], else 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct NormalisedExactMatch;

impl Similarity for NormalisedExactMatch {
    fn name(&self) -> &'static str {
        "exact_match"
    }

    fn matrix(&self, texts: &[&str]) -> Array2<f64> {
        let plain: Vec<String> = texts.iter().map(|text| normalise(text)).collect();
        all_pairs(texts.len(), |i, j| f64::from(u8::from(plain[i] == plain[j])))
    }
}

/// ROUGE-L F1 (Lin 2004): harmonic mean of precision and recall of the longest common subsequence of words, as the `rouge_score` package
/// computes it for a sentence pair, without stemming (its default; a stemmer is tied to one language). Words are runs of letters and digits
/// in lower case: `rouge_score` on ASCII, and unlike it other scripts count as well. A text without words resembles only itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct RougeL;

impl Similarity for RougeL {
    fn name(&self) -> &'static str {
        "rouge_l"
    }

    fn matrix(&self, texts: &[&str]) -> Array2<f64> {
        let words: Vec<Vec<String>> = texts.iter().map(|text| words(text)).collect();
        all_pairs(texts.len(), |i, j| if texts[i] == texts[j] { 1.0 } else { rouge_l(&words[i], &words[j]) })
    }
}

/// Lower case, white space collapsed, quotes and sentence punctuation stripped from both ends, a leading article dropped. Milder than the
/// normalisation of SQuAD, which also merges `1.5` with `15` and the choice `A` with nothing.
pub fn normalise(text: &str) -> String {
    let lower = text.to_lowercase();
    let core = lower.trim_matches(|c: char| c.is_whitespace() || ".,;:!?\"'`“”‘’«»".contains(c));
    let words: Vec<&str> = core.split_whitespace().collect();
    match words.as_slice() {
        ["a" | "an" | "the", rest @ ..] if !rest.is_empty() => rest.join(" "),
        [] => lower.trim().to_owned(),
        all => all.join(" "),
    }
}

/// Mean over all pairs i < j of a similarity matrix `[n, n]`; `None` below two texts.
pub fn mean_pairwise(similarity: &Array2<f64>) -> Option<f64> {
    let n = similarity.nrows();
    let pairs = n * n.saturating_sub(1) / 2;
    (pairs > 0).then(|| (similarity.sum() - similarity.diag().sum()) / 2.0 / pairs as f64)
}

/// Cluster number of every text, from 0 in order of first appearance. Greedy, after Farquhar et al. 2024: a text joins the first cluster whose
/// *first* member it resembles by at least `threshold`, else it opens a new one.
pub fn clusters(similarity: &Array2<f64>, threshold: f64) -> Vec<usize> {
    let mut firsts: Vec<usize> = Vec::new();
    (0..similarity.nrows())
        .map(|text| {
            firsts.iter().position(|&first| similarity[[first, text]] >= threshold).unwrap_or_else(|| {
                firsts.push(text);
                firsts.len() - 1
            })
        })
        .collect()
}

/// Fills a symmetric matrix with ones on the diagonal from the pairs i < j, rows in parallel.
fn all_pairs(n: usize, pair: impl Fn(usize, usize) -> f64 + Sync) -> Array2<f64> {
    let upper: Vec<Vec<f64>> = (0..n).into_par_iter().map(|i| (i + 1..n).map(|j| pair(i, j)).collect()).collect();
    Array2::from_shape_fn((n, n), |(i, j)| if i == j { 1.0 } else { upper[i.min(j)][i.abs_diff(j) - 1] })
}

fn words(text: &str) -> Vec<String> {
    text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn rouge_l(a: &[String], b: &[String]) -> f64 {
    let common = longest_common_subsequence(a, b) as f64;
    if common == 0.0 { 0.0 } else { 2.0 * common / (a.len() + b.len()) as f64 }
}

/// Length of the longest common subsequence, by the row-by-row recurrence of Wagner and Fischer.
fn longest_common_subsequence(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for word in a {
        let mut diagonal = 0;
        for (j, other) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if word == other { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn normalisation_keeps_what_tells_answers_apart() {
        let same = [("Paris", " paris."), ("The Eiffel  Tower", "eiffel tower!"), ("“Yes”", "yes"), ("ÉCOLE", "école")];
        let different = [("1.5", "15"), ("-5", "5"), ("vitamin A", "vitamin"), ("A", ""), ("?", "!")];
        assert!(same.iter().all(|(a, b)| normalise(a) == normalise(b)));
        assert!(different.iter().all(|(a, b)| normalise(a) != normalise(b)));
    }

    #[test]
    fn rouge_l_of_lin_2004() {
        // Section 3.1 of the paper: LCS("police killed the gunman", "police kill the gunman") = 3 of 4, "the gunman kill police" = 2 of 4.
        let matrix = RougeL.matrix(&["police killed the gunman", "Police kill the gunman.", "the gunman kill police"]);
        assert_eq!((matrix[[0, 1]], matrix[[0, 2]], matrix[[2, 0]]), (0.75, 0.5, 0.5));
    }

    #[test]
    fn texts_without_words_resemble_only_themselves() {
        assert_eq!(RougeL.matrix(&["?", "?", "!"]), array![[1., 1., 0.], [1., 1., 0.], [0., 0., 1.]]);
        assert_eq!(RougeL.matrix(&["Токио", "токио", "Осака"])[[0, 1]], 1.0);
    }

    #[test]
    fn a_cluster_is_judged_by_its_first_member() {
        // 1 resembles 0, 2 resembles 1 but not 0: the chain is cut.
        let chain = array![[1., 1., 0.], [1., 1., 1.], [0., 1., 1.]];
        assert_eq!(clusters(&chain, 0.5), [0, 0, 1]);
        assert_eq!(mean_pairwise(&chain), Some(2.0 / 3.0));
        assert_eq!(mean_pairwise(&array![[1.0]]), None);
    }
}
