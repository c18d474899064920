//! From a model's numbers to figures with standard errors, as lm-evaluation-harness defines them.

use std::sync::LazyLock;

use coppice_models::continuation::Continued;
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::item::Question;
use super::task::Metric;

/// What a model made of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Log-probability of each pair, nats, and whether it is what the model would say.
    Pairs {
        /// Log-probabilities.
        logprobs: Vec<f64>,
        /// Greedy or not.
        greedy: Vec<bool>,
    },
    /// Log-probability of a document, nats, and its size.
    Text {
        /// Log-probability.
        logprob: f64,
        /// Words, parted by white space.
        words: usize,
        /// Bytes.
        bytes: usize,
        /// Tokens.
        tokens: usize,
    },
    /// What the model wrote.
    Answer {
        /// Its text.
        text: String,
    },
}

/// A figure over items.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The value.
    pub value: f64,
    /// Its standard error over items; none for a single item.
    pub stderr: Option<f64>,
}

impl Outcome {
    /// From continuations in the order of the pairs.
    pub fn of_pairs(continued: &[Continued]) -> Self {
        Self::Pairs {
            logprobs: continued.iter().map(|continued| continued.logprob).collect(),
            greedy: continued.iter().map(|continued| continued.greedy).collect(),
        }
    }
}

/// An item's part of a metric: a value and its weight; none where the item has no such value.
pub fn part(metric: Metric, question: &Question, outcome: &Outcome) -> Option<(f64, f64)> {
    match (question, outcome) {
        (Question::Pairs { lengths, gold, right, .. }, Outcome::Pairs { logprobs, greedy }) => {
            let value = of_pairs(metric, (lengths, *gold, right), logprobs, greedy)?;
            Some((value, 1.0))
        }
        (Question::Text(_), &Outcome::Text { logprob, words, bytes, tokens }) => match metric {
            Metric::WordPerplexity => Some((logprob, words as f64)),
            Metric::BytePerplexity => Some((logprob, bytes as f64)),
            Metric::TokenPerplexity => Some((logprob, tokens as f64)),
            _ => None,
        },
        (Question::Prompt { answer, .. }, Outcome::Answer { text }) => {
            let found = if metric == Metric::StrictMatch { after_marks(text) } else { last_number(text) };
            let same = found.is_some_and(|found| plain(&found) == plain(answer));
            Some((f64::from(same), 1.0))
        }
        _ => None,
    }
}

fn of_pairs(metric: Metric, (lengths, gold, right): (&[usize], usize, &[bool]), logprobs: &[f64], greedy: &[bool]) -> Option<f64> {
    let by_length = || logprobs.iter().zip(lengths).map(|(logprob, &length)| logprob / length as f64).collect::<Vec<_>>();
    match metric {
        Metric::Acc if logprobs.len() == 1 => greedy.first().map(|&greedy| f64::from(greedy)),
        Metric::Acc => Some(f64::from(first_largest(logprobs)? == gold)),
        Metric::AccNorm => Some(f64::from(first_largest(&by_length())? == gold)),
        Metric::Mc2 => {
            let largest = logprobs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let share = |counts: &dyn Fn(usize) -> bool| -> f64 {
                logprobs.iter().enumerate().filter(|(place, _)| counts(*place)).map(|(_, logprob)| (logprob - largest).exp()).sum()
            };
            Some(share(&|place| right.get(place) == Some(&true)) / share(&|_| true))
        }
        Metric::Perplexity => logprobs.first().copied(),
        _ => None,
    }
}

/// Place of the largest value; of equals the first.
fn first_largest(values: &[f64]) -> Option<usize> {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values.iter().position(|&value| value == largest)
}

/// The figure of all items' parts. Perplexities are exp(−Σ log-probability / Σ weight); their standard error is that of the mean
/// log-probability, times the perplexity (delta method).
pub fn figure(metric: Metric, parts: &[(f64, f64)]) -> Option<Figure> {
    let (n, weights) = (parts.len() as f64, parts.iter().map(|part| part.1).sum::<f64>());
    if parts.is_empty() || weights == 0.0 {
        return None;
    }
    let mean = parts.iter().map(|part| part.0).sum::<f64>() / weights;
    // Of a ratio of sums, as of a mean: the residuals of each item.
    let squares: f64 = parts.iter().map(|&(value, weight)| (value - mean * weight).powi(2)).sum();
    let error = (n > 1.0).then(|| (squares / (n - 1.0)).sqrt() * n.sqrt() / weights);
    let is_perplexity = matches!(metric, Metric::Perplexity | Metric::WordPerplexity | Metric::BytePerplexity | Metric::TokenPerplexity);
    Some(match is_perplexity {
        true => Figure { value: (-mean).exp(), stderr: error.map(|error| error * (-mean).exp()) },
        false => Figure { value: mean, stderr: error },
    })
}

/// The last number of a text.
fn last_number(text: &str) -> Option<String> {
    static NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"-?[$0-9.,]{2,}|-?[0-9]+").ok());
    NUMBER.as_ref()?.find_iter(text).last().map(|found| found.as_str().to_owned())
}

/// The number after GSM8K's four marks.
fn after_marks(text: &str) -> Option<String> {
    static MARKED: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"#### (-?[0-9.,]+)").ok());
    MARKED.as_ref()?.captures(text)?.get(1).map(|found| found.as_str().to_owned())
}

/// An answer as it is compared: what stands after the marks, without separators, currency and a last full stop, in lower case.
fn plain(answer: &str) -> String {
    let answer = answer.rsplit("#### ").next().unwrap_or(answer);
    let kept: String = answer.chars().filter(|&character| character != ',' && character != '$').collect();
    kept.strip_suffix('.').unwrap_or(&kept).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(lengths: &[usize], gold: usize, right: &[bool]) -> Question {
        Question::Pairs {
            pairs: vec![(String::new(), String::new()); lengths.len()],
            lengths: lengths.to_vec(),
            gold,
            right: right.to_vec(),
        }
    }

    fn outcome(logprobs: &[f64]) -> Outcome {
        Outcome::Pairs { logprobs: logprobs.to_vec(), greedy: vec![false; logprobs.len()] }
    }

    #[test]
    fn length_decides_between_acc_and_acc_norm() {
        let (asked, found) = (question(&[2, 10], 1, &[false, true]), outcome(&[-3.0, -6.0]));
        assert_eq!(part(Metric::Acc, &asked, &found), Some((0.0, 1.0)));
        assert_eq!(part(Metric::AccNorm, &asked, &found), Some((1.0, 1.0)));
        assert_eq!(
            part(Metric::Acc, &question(&[1, 1], 0, &[true, false]), &outcome(&[-2.0, -2.0])),
            Some((1.0, 1.0)),
            "the first of equals"
        );
    }

    #[test]
    fn mc2_is_the_probability_of_all_right_choices() {
        let (asked, found) = (question(&[1; 3], 0, &[true, false, true]), outcome(&[0.5f64.ln(), 0.25f64.ln(), 0.25f64.ln()]));
        assert!((part(Metric::Mc2, &asked, &found).unwrap().0 - 0.75).abs() < 1e-12);
    }

    #[test]
    fn answers_are_compared_by_their_last_number() {
        let asked = |answer: &str| Question::Prompt { context: String::new(), answer: answer.into() };
        let said = |text: &str| Outcome::Answer { text: text.into() };
        let is = |metric, text: &str, answer: &str| part(metric, &asked(answer), &said(text)).unwrap().0 == 1.0;
        assert!(is(Metric::ExactMatch, "3 + 4 = $1,007.", "so\n#### 1007"));
        assert!(!is(Metric::ExactMatch, "it is 7, or 8", "#### 7") && !is(Metric::ExactMatch, "none", "#### 7"));
        assert!(is(Metric::StrictMatch, "#### 12\n#### 13", "#### 12") && !is(Metric::StrictMatch, "12", "#### 12"));
    }

    #[test]
    fn figures_are_those_of_the_closed_forms() {
        let found = figure(Metric::Acc, &[(1.0, 1.0), (0.0, 1.0), (1.0, 1.0), (1.0, 1.0)]).unwrap();
        assert!((found.value - 0.75).abs() < 1e-12 && (found.stderr.unwrap() - 0.25).abs() < 1e-12, "{found:?}");
        let found = figure(Metric::WordPerplexity, &[(-2.0, 1.0), (-4.0, 2.0)]).unwrap();
        assert!((found.value - 2f64.exp()).abs() < 1e-12 && found.stderr.unwrap().abs() < 1e-12, "{found:?}");
        assert_eq!(figure(Metric::Acc, &[]), None);
    }
}
