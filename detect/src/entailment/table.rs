//! Judgements made beforehand, by any tool, read from a file: scores that need entailment then run without a model.

use std::collections::HashMap;
use std::io::{self, BufRead};

use serde::Deserialize;

use super::{Entailment, Judgement};
use crate::similarity::BackendError;

/// How far the three probabilities of a line may miss a sum of 1.
const SUM_TOLERANCE: f64 = 1e-3;

/// Judgements by premise and hypothesis. A text that is not listed beside itself entails itself.
#[derive(Debug, Clone, Default)]
pub struct Table {
    judgements: HashMap<String, HashMap<String, Judgement>>,
}

/// A line of the file.
#[derive(Deserialize)]
struct Row {
    premise: String,
    hypothesis: String,
    entailment: f64,
    neutral: f64,
    contradiction: f64,
}

/// Why a file is no table of judgements.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Reading failed.
    #[error("cannot read judgements: {0}")]
    Io(#[from] io::Error),
    /// A line that is no judgement.
    #[error("judgements, line {line}: {reason}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Not a single judgement.
    #[error("judgements: the input is empty; expected lines of {{premise, hypothesis, entailment, neutral, contradiction}}")]
    Empty,
}

impl Table {
    /// Reads JSON lines `{"premise", "hypothesis", "entailment", "neutral", "contradiction"}`, probabilities that sum to 1. Empty lines are
    /// passed over; of several lines for one pair the last holds.
    ///
    /// # Errors
    /// The first line that is no judgement, by its number; an input without any.
    pub fn read(input: impl BufRead) -> Result<Self, TableError> {
        let mut table = Self::default();
        for (line, number) in input.lines().zip(1..) {
            let line = line?;
            if !line.trim().is_empty() {
                table.add(row(&line).map_err(|reason| TableError::Line { line: number, reason })?);
            }
        }
        if table.judgements.is_empty() { Err(TableError::Empty) } else { Ok(table) }
    }

    fn add(&mut self, row: Row) {
        let Row { premise, hypothesis, entailment, neutral, contradiction } = row;
        self.judgements.entry(premise).or_default().insert(hypothesis, Judgement { entailment, neutral, contradiction });
    }

    fn find(&self, premise: &str, hypothesis: &str) -> Result<Judgement, BackendError> {
        let listed = self.judgements.get(premise).and_then(|of| of.get(hypothesis)).copied();
        listed.or((premise == hypothesis).then_some(Judgement::SAME)).ok_or_else(|| BackendError {
            backend: "table",
            reason: format!("no judgement of the premise {:?} and the hypothesis {:?}", short(premise), short(hypothesis)),
        })
    }
}

impl Entailment for Table {
    fn name(&self) -> &'static str {
        "table"
    }

    fn judge(&self, pairs: &[(&str, &str)]) -> Result<Vec<Judgement>, BackendError> {
        pairs.iter().map(|(premise, hypothesis)| self.find(premise, hypothesis)).collect()
    }
}

fn row(line: &str) -> Result<Row, String> {
    let row: Row = serde_json::from_str(line).map_err(|error| error.to_string().replace(" at line 1 column ", " at column "))?;
    let all = [row.entailment, row.neutral, row.contradiction];
    match all.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        Some(p) => Err(format!("{p} is no probability; expected entailment, neutral and contradiction within 0 to 1")),
        None if (all.iter().sum::<f64>() - 1.0).abs() > SUM_TOLERANCE => {
            Err(format!("the probabilities sum to {:.4}; expected 1", all.iter().sum::<f64>()))
        }
        None => Ok(row),
    }
}

/// The beginning of a text, for a message.
fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"premise":"a","hypothesis":"b","entailment":0.7,"neutral":0.2,"contradiction":0.1}"#;

    fn complaint(input: &str) -> String {
        Table::read(input.as_bytes()).expect_err("no table").to_string()
    }

    #[test]
    fn finds_what_was_judged() {
        let table = Table::read(format!("{LINE}\r\n\n").as_bytes()).expect("one line");
        let judged = table.judge(&[("a", "b"), ("c", "c")]).expect("listed");
        assert_eq!(judged, [Judgement { entailment: 0.7, neutral: 0.2, contradiction: 0.1 }, Judgement::SAME]);
        let unknown = table.judge(&[("b", "a")]).expect_err("the other direction is not listed");
        assert_eq!(unknown.to_string(), r#"table: no judgement of the premise "b" and the hypothesis "a""#);
    }

    #[test]
    fn says_which_line_is_none() {
        assert_eq!(complaint(""), complaint("\n"));
        assert!(complaint("{}").starts_with("judgements, line 1: missing field `premise`"));
        assert!(
            complaint(&format!("{LINE}\n{}", LINE.replace("0.7", "0.5")))
                .starts_with("judgements, line 2: the probabilities sum to 0.8000; expected 1")
        );
        assert!(complaint(&LINE.replace("0.7", "-0.7")).starts_with("judgements, line 1: -0.7 is no probability"));
    }
}
