//! Answers that are the same once case, white space and outer punctuation are set aside.

use ndarray::Array2;

use super::{BackendError, Similarity, all_pairs};

/// 1 for texts that are the same after [`normalise`], else 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct NormalisedExactMatch;

impl Similarity for NormalisedExactMatch {
    fn name(&self) -> &'static str {
        "exact_match"
    }

    fn matrix(&self, texts: &[&str]) -> Result<Array2<f64>, BackendError> {
        let plain: Vec<String> = texts.iter().map(|text| normalise(text)).collect();
        Ok(all_pairs(texts.len(), |i, j| f64::from(u8::from(plain[i] == plain[j]))))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalisation_keeps_what_tells_answers_apart() {
        let same = [("Paris", " paris."), ("The Eiffel  Tower", "eiffel tower!"), ("“Yes”", "yes"), ("ÉCOLE", "école")];
        let different = [("1.5", "15"), ("-5", "5"), ("vitamin A", "vitamin"), ("A", ""), ("?", "!")];
        assert!(same.iter().all(|(a, b)| normalise(a) == normalise(b)));
        assert!(different.iter().all(|(a, b)| normalise(a) != normalise(b)));
    }
}
