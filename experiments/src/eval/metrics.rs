//! What the model's answers come to: a value for every item, and figures with standard errors for all of them (`lm_eval/api/metrics.py`).

use coppice_models::continuation::Continued;
use serde::{Deserialize, Serialize};

use super::metric::Metric;

/// A metric of one item: its value and, for figures over words, bytes or tokens, how many of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// 0 or 1 for shares, else a log-probability in nats or a mark.
    pub value: f64,
    /// 1 where items count alike.
    pub weight: f64,
}

/// A metric over items.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// The metric.
    pub value: f64,
    /// Its standard error; none for fewer than two items and for figures over words, bytes and tokens.
    pub stderr: Option<f64>,
}

impl Value {
    fn of(value: f64) -> Self {
        Self { value, weight: 1.0 }
    }

    /// Whether something holds.
    pub fn is(holds: bool) -> Self {
        Self::of(f64::from(u8::from(holds)))
    }

    /// A mark.
    pub fn mark(mark: f64) -> Self {
        Self::of(mark)
    }
}

/// A metric of a multiple-choice item, given the scores of its choices, which are right, and their lengths in characters.
pub fn of_choices(metric: Metric, scores: &[Continued], right: &[bool], lengths: &[usize]) -> Value {
    let logprobs: Vec<f64> = scores.iter().map(|score| score.logprob).collect();
    let is_right = |place: usize| right.get(place).copied().unwrap_or_default();
    match metric {
        Metric::AccNorm => {
            let normed: Vec<f64> = logprobs.iter().zip(lengths).map(|(logprob, &length)| logprob / length as f64).collect();
            Value::is(is_right(best(&normed)))
        }
        Metric::Mc2 => Value::of(share_of_right(&logprobs, right)),
        _ => Value::is(is_right(best(&logprobs))),
    }
}

/// The first of the greatest.
fn best(values: &[f64]) -> usize {
    (1..values.len()).fold(0, |best, place| if values[place] > values[best] { place } else { best })
}

/// Probability of the right choices over that of all (TruthfulQA, arXiv 2109.07958, MC2).
fn share_of_right(logprobs: &[f64], right: &[bool]) -> f64 {
    let most = logprobs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let probabilities = logprobs.iter().map(|logprob| (logprob - most).exp());
    let (mut good, mut all) = (0.0, 0.0);
    for (probability, &right) in probabilities.zip(right) {
        all += probability;
        good += if right { probability } else { 0.0 };
    }
    good / all
}

/// A metric of one continuation.
pub fn of_continuation(metric: Metric, score: Continued) -> Value {
    if metric == Metric::Perplexity { Value::of(score.logprob) } else { Value::is(score.greedy) }
}

/// A metric of a document: its log-probability, and the words, bytes or tokens it is spread over. A word is what stands between white space,
/// counted as Python's `len(re.split(r"\s+", text))` does.
pub fn of_document(metric: Metric, logprob: f64, counted: &str, tokens: usize) -> Value {
    let weight = match metric {
        Metric::WordPerplexity => words(counted),
        Metric::TokenPerplexity => tokens,
        _ => counted.len(),
    };
    Value { value: logprob, weight: weight as f64 }
}

fn words(text: &str) -> usize {
    let blank = |c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c);
    let (mut runs, mut before) = (0, false);
    for now in text.chars().map(blank) {
        runs += usize::from(now && !before);
        before = now;
    }
    runs + 1
}

/// The figure over all items; none without items.
pub fn figure(metric: Metric, values: &[Value]) -> Option<Figure> {
    let weights: f64 = values.iter().map(|value| value.weight).sum();
    if values.is_empty() || weights <= 0.0 {
        return None;
    }
    let mean = values.iter().map(|value| value.value).sum::<f64>() / weights;
    let stderr = stderr(values, mean);
    Some(match metric {
        // The bootstrap of lm-eval tends to this as its draws grow: the mean's error times the derivative of exp.
        Metric::Perplexity => Figure { value: (-mean).exp(), stderr: stderr.map(|error| error * (-mean).exp()) },
        Metric::WordPerplexity | Metric::BytePerplexity | Metric::TokenPerplexity => Figure { value: (-mean).exp(), stderr: None },
        Metric::BitsPerByte => Figure { value: -mean / std::f64::consts::LN_2, stderr: None },
        _ => Figure { value: mean, stderr },
    })
}

/// Standard error of the mean, from the sample's deviation (n - 1).
fn stderr(values: &[Value], mean: f64) -> Option<f64> {
    let count = values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value.value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (count - 1.0) / count).sqrt())
}

/// Standard error of a mean over groups weighted by their sizes (`pooled_sample_stderr`): variation within the groups alone. `None` where a
/// group has none.
pub fn pooled(groups: &[(Option<f64>, usize)]) -> Option<f64> {
    let total: f64 = groups.iter().map(|(_, size)| *size as f64).sum();
    let within = |(error, size): &(Option<f64>, usize)| Some((*size as f64 - 1.0) * (*error)?.powi(2) * *size as f64);
    let sum: f64 = groups.iter().map(within).sum::<Option<f64>>()?;
    Some((sum / (total - groups.len() as f64) / total).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(logprobs: &[f64]) -> Vec<Continued> {
        logprobs.iter().map(|&logprob| Continued { logprob, greedy: false }).collect()
    }

    #[test]
    fn length_decides_what_is_best() {
        let (scores, right) = (scores(&[-4.0, -6.0]), [false, true]);
        assert_eq!(of_choices(Metric::Acc, &scores, &right, &[2, 6]).value, 0.0);
        assert_eq!(of_choices(Metric::AccNorm, &scores, &right, &[2, 6]).value, 1.0);
        // e^-6 / (e^-4 + e^-6)
        assert!((of_choices(Metric::Mc2, &scores, &right, &[2, 6]).value - 0.119_202_922_022_117_57).abs() < 1e-12);
        let far = self::scores(&[-2000.0, -2001.0]);
        assert!((of_choices(Metric::Mc2, &far, &right, &[1, 1]).value - 0.268_941_421_369_995_1).abs() < 1e-12);
    }

    /// `len(re.split(r"\s+", text))` in Python 3.11.
    #[test]
    fn words_are_counted_as_python_splits_them() {
        let cases = [("a b", 2), (" a  b\n", 4), ("a", 1), ("", 1), ("  ", 2), ("a\u{a0}b\u{2028}c", 3), ("\n", 2), ("a\u{1f}b", 2)];
        for (text, expected) in cases {
            assert_eq!(words(text), expected, "{text:?}");
        }
    }

    /// lm-eval 0.4.13: `mean_stderr([1, 0, 1, 1])`, `perplexity([-1, -2, -4])`, `weighted_perplexity`, `bits_per_byte`, `pooled_sample_stderr`.
    #[test]
    fn figures_are_those_of_lm_eval() {
        let share = figure(Metric::Acc, &[1.0, 0.0, 1.0, 1.0].map(Value::of)).expect("items");
        assert!((share.value - 0.75).abs() < 1e-15 && (share.stderr.expect("several") - 0.25).abs() < 1e-15);
        assert!(
            (figure(Metric::Perplexity, &[-1.0, -2.0, -4.0].map(Value::of)).expect("items").value - 10.312_258_501_325_767).abs() < 1e-9
        );
        let documents = [Value { value: -30.0, weight: 10.0 }, Value { value: -5.0, weight: 4.0 }];
        assert!((figure(Metric::WordPerplexity, &documents).expect("items").value - 12.182_493_960_703_473).abs() < 1e-9);
        assert!((figure(Metric::BitsPerByte, &documents).expect("items").value - 3.606_737_602_222_409).abs() < 1e-12);
        assert!((pooled(&[(Some(0.1), 10), (Some(0.2), 30)]).expect("errors") - 0.153_254_174_837_957_22).abs() < 1e-12);
        assert_eq!((figure(Metric::Acc, &[]), figure(Metric::Acc, &[Value::is(true)]).and_then(|one| one.stderr)), (None, None));
    }
}
