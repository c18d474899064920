//! Word overlap as summaries are judged by it.

use ndarray::Array2;

use super::{BackendError, Similarity, all_pairs};

/// ROUGE-L F1 (Lin 2004): harmonic mean of precision and recall of the longest common subsequence of words, as the `rouge_score` package
/// computes it for a sentence pair, without stemming (its default; a stemmer is tied to one language). Words are runs of letters and digits
/// in lower case: `rouge_score` on ASCII, and unlike it other scripts count as well. A text without words resembles only itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct RougeL;

impl Similarity for RougeL {
    fn name(&self) -> &'static str {
        "rouge_l"
    }

    fn matrix(&self, texts: &[&str]) -> Result<Array2<f64>, BackendError> {
        let words: Vec<Vec<String>> = texts.iter().map(|text| words(text)).collect();
        Ok(all_pairs(texts.len(), |i, j| if texts[i] == texts[j] { 1.0 } else { rouge_l(&words[i], &words[j]) }))
    }

    fn to_each(&self, text: &str, others: &[&str]) -> Result<Vec<f64>, BackendError> {
        let own = words(text);
        Ok(others.iter().map(|&other| if other == text { 1.0 } else { rouge_l(&own, &words(other)) }).collect())
    }
}

fn words(text: &str) -> Vec<String> {
    text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn rouge_l(a: &[String], b: &[String]) -> f64 {
    let common = longest_common_subsequence(a, b) as f64;
    if common == 0.0 { 0.0 } else { 2.0 * common / (a.len() + b.len()) as f64 }
}

/// Length of the longest common subsequence: what both begin with, what both end with, and the recurrence between.
fn longest_common_subsequence(a: &[String], b: &[String]) -> usize {
    let same = |pairs: &mut dyn Iterator<Item = (&String, &String)>| pairs.take_while(|(x, y)| x == y).count();
    let begin = same(&mut a.iter().zip(b));
    let (a, b) = (&a[begin..], &b[begin..]);
    let end = same(&mut a.iter().rev().zip(b.iter().rev()));
    begin + end + between(&a[..a.len() - end], &b[..b.len() - end])
}

/// Row by row, after Wagner and Fischer.
fn between(a: &[String], b: &[String]) -> usize {
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
    fn rouge_l_of_lin_2004() {
        // Section 3.1 of the paper: LCS("police killed the gunman", "police kill the gunman") = 3 of 4, "the gunman kill police" = 2 of 4.
        let matrix = RougeL.matrix(&["police killed the gunman", "Police kill the gunman.", "the gunman kill police"]).expect("no model");
        assert_eq!((matrix[[0, 1]], matrix[[0, 2]], matrix[[2, 0]]), (0.75, 0.5, 0.5));
    }

    #[test]
    fn texts_without_words_resemble_only_themselves() {
        assert_eq!(RougeL.matrix(&["?", "?", "!"]).expect("no model"), array![[1., 1., 0.], [1., 1., 0.], [0., 0., 1.]]);
        assert_eq!(RougeL.matrix(&["Токио", "токио", "Осака"]).expect("no model")[[0, 1]], 1.0);
    }
}
