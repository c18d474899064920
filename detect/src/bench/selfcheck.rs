//! The protocol of SelfCheckGPT on passages whose sentences people graded 0 (accurate), 0.5 (minor) or 1 (major inaccuracy).

use serde::{Deserialize, Serialize};

use crate::metrics::{self, MetricError, auc_pr_trapezoid};

/// From this mean grade on a passage is made up as a whole, and left out of `NonFact*`.
const MADE_UP: f64 = 0.99;

/// A passage, scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// How wrong every sentence is, 0 to 1.
    pub grades: Vec<f64>,
    /// The score of every sentence; higher = more suspect.
    pub scores: Vec<f64>,
    /// The score of the passage.
    pub whole: f64,
}

/// How well a score finds wrong sentences and passages. Areas under the precision-recall curve are trapezoidal, as published.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SelfCheck {
    /// Sentences with a minor or major inaccuracy, among all.
    pub non_fact: Area,
    /// Sentences with a major inaccuracy, among those of passages that are not made up as a whole.
    pub non_fact_star: Area,
    /// Accurate sentences, among all, by the negated score.
    pub factual: Area,
    /// Pearson's correlation of the passages' scores with their mean grades.
    pub pearson: f64,
    /// Spearman's.
    pub spearman: f64,
}

/// An area under a precision-recall curve, beside what a score that knows nothing gets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Area {
    /// The area.
    pub auc_pr: f64,
    /// Share of positives.
    pub base_rate: f64,
    /// Sentences.
    pub n: usize,
}

/// Judges a score on passages (Manakul et al. 2023, section 7; `NonFact*` as in the notebooks of its repository).
///
/// # Errors
/// Scores that are not finite, only one class, passages of equal scores.
pub fn selfcheck(passages: &[Passage]) -> Result<SelfCheck, MetricError> {
    let partly: Vec<&Passage> = passages.iter().filter(|passage| mean(&passage.grades) < MADE_UP).collect();
    let all: Vec<&Passage> = passages.iter().collect();
    let wholes: Vec<f64> = passages.iter().map(|passage| passage.whole).collect();
    let grades: Vec<f64> = passages.iter().map(|passage| mean(&passage.grades)).collect();
    Ok(SelfCheck {
        non_fact: non_fact(&all)?,
        non_fact_star: area(&partly, 1.0, |grade| grade >= 1.0)?,
        factual: area(&all, -1.0, |grade| grade < 0.5)?,
        pearson: metrics::pearson(&wholes, &grades)?,
        spearman: metrics::spearman(&wholes, &grades)?,
    })
}

/// The area of `NonFact` alone.
pub(super) fn non_fact(passages: &[&Passage]) -> Result<Area, MetricError> {
    area(passages, 1.0, |grade| grade >= 0.5)
}

fn area(passages: &[&Passage], sign: f64, positive: impl Fn(f64) -> bool) -> Result<Area, MetricError> {
    let scores: Vec<f64> = passages.iter().flat_map(|passage| passage.scores.iter().map(|score| sign * score)).collect();
    let positives: Vec<bool> = passages.iter().flat_map(|passage| passage.grades.iter().map(|&grade| positive(grade))).collect();
    let base_rate = metrics::base_rate(&positives)?;
    Ok(Area { auc_pr: auc_pr_trapezoid(&scores, &positives)?, base_rate, n: scores.len() })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(grades: &[f64], scores: &[f64]) -> Passage {
        Passage { grades: grades.to_vec(), scores: scores.to_vec(), whole: mean(scores) }
    }

    #[test]
    fn a_score_that_is_the_grade_finds_everything() {
        let passages = [passage(&[0.0, 0.5, 1.0], &[0.0, 0.5, 1.0]), passage(&[1.0, 1.0], &[1.0, 1.0]), passage(&[0.0], &[0.0])];
        let found = selfcheck(&passages).expect("both classes");
        assert_eq!((found.non_fact.auc_pr, found.non_fact_star.auc_pr, found.factual.auc_pr), (1.0, 1.0, 1.0));
        assert_eq!((found.non_fact.n, found.non_fact_star.n), (6, 4), "the made-up passage is left out");
        assert_eq!((found.non_fact.base_rate, found.non_fact_star.base_rate, found.factual.base_rate), (4.0 / 6.0, 0.25, 2.0 / 6.0));
        assert!((found.pearson - 1.0).abs() < 1e-12 && (found.spearman - 1.0).abs() < 1e-12);
    }

    #[test]
    fn without_wrong_sentences_it_is_not_defined() {
        assert!(matches!(selfcheck(&[passage(&[0.0], &[1.0])]), Err(MetricError::SingleClass { .. })));
        assert_eq!(selfcheck(&[]), Err(MetricError::Empty));
    }
}
