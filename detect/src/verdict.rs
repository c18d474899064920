//! The verdict on a record: its scores, what other scores lacked, and the decision drawn from them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::calibration::{Calibrator, Threshold};
use crate::record::Record;
use crate::scores::{Case, Missing, Scorer};
use crate::spans::{Part, Parts, Span, parts};

/// What is known about one response.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The record's.
    pub id: String,
    /// Value of every score that could be computed; higher = more suspect.
    pub scores: BTreeMap<String, f64>,
    /// What the record lacks, for every score that could not.
    pub missing: BTreeMap<String, String>,
    /// Calibrated probability that the response is wrong; null without a calibrator.
    pub probability_wrong: Option<f64>,
    /// The response's sentences, with scores of their own; only where [`Verdict::with_parts`] was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sentences: Vec<Part>,
    /// The claims of its sentences, likewise.
    pub claims: Vec<Part>,
    /// Its names, numbers and dates, likewise.
    pub spans: Vec<Span>,
    /// The probability from which the response is flagged; null without a calibrator.
    pub threshold: Option<f64>,
    /// What to do with the response.
    pub verdict: Decision,
    /// What speaks for the decision, in words.
    pub evidence: Vec<String>,
}

/// What to do with a response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Probably right.
    Accept,
    /// Undecided: a person should look.
    #[default]
    Review,
    /// Probably wrong.
    Flag,
}

/// Scores a record with the default setup: see [`score_case`].
pub fn score_record(record: &Record, scorers: &[&dyn Scorer]) -> Verdict {
    score_case(&Case::new(record), scorers)
}

/// Scores a case. Without a calibrator the verdict is [`Decision::Review`]; [`Verdict::decide`] draws a firmer one.
pub fn score_case(case: &Case<'_>, scorers: &[&dyn Scorer]) -> Verdict {
    let mut verdict = Verdict { id: case.record.id.clone(), ..Verdict::default() };
    for scorer in scorers {
        match finite_score(*scorer, case) {
            Ok(value) => drop(verdict.scores.insert(scorer.name().to_owned(), value)),
            Err(missing) => drop(verdict.missing.insert(scorer.name().to_owned(), missing.to_string())),
        }
    }
    verdict
}

/// The score, which is a finite number or missing.
pub(crate) fn finite_score(scorer: &dyn Scorer, case: &Case<'_>) -> Result<f64, Missing> {
    let found = scorer.score(case).and_then(|value| if value.is_finite() { Ok(value) } else { Err(Missing::Finite) });
    if let Err(Missing::Backend(error)) = &found {
        case.setup.trouble.note(error);
    }
    found
}

/// The same for judging scores: a learned score of a record it was fitted on would be no finding and is missing.
pub(crate) fn unseen_score(scorer: &dyn Scorer, case: &Case<'_>) -> Result<f64, Missing> {
    let seen = scorer.learned().is_some() && case.setup.fitted.has_seen(case.record);
    if seen { Err(Missing::Unseen) } else { finite_score(scorer, case) }
}

impl Verdict {
    /// The verdict with the parts of the response, scored one by one; `missing` says what their scores lack.
    #[must_use]
    pub fn with_parts(mut self, case: &Case<'_>) -> Self {
        let Parts { sentences, claims, spans, missing } = parts(case);
        self.missing.extend(missing);
        Self { sentences, claims, spans, ..self }
    }

    /// The verdict with the calibrator's probability and decision. Where the calibrator's score is missing, the probability stays null and the
    /// decision [`Decision::Review`]; `evidence` says so, and `missing` says why. It also says what the decision promises, and when the score
    /// lies outside of the range that was calibrated on.
    #[must_use]
    pub fn decide(mut self, calibrator: &Calibrator) -> Self {
        let Calibrator { score, calibration, thresholds, .. } = calibrator;
        self.threshold = thresholds.flag.map(|flag| flag.probability);
        let value = self.scores.get(score).copied();
        self.probability_wrong = value.map(|value| calibration.probability(value));
        self.verdict = self.probability_wrong.map_or(Decision::Review, |probability| thresholds.decide(probability));
        self.evidence.push(match self.probability_wrong {
            Some(probability) => format!("{score}: wrong with probability {probability:.3}"),
            None => format!("{score}, which the calibrator reads, is missing"),
        });
        self.evidence.extend(thresholds.behind(self.verdict).and_then(|threshold| promise(self.verdict, &threshold)));
        self.evidence.extend(value.and_then(|value| outside(calibrator, value)));
        self
    }
}

/// What the threshold behind a decision promises.
fn promise(decision: Decision, threshold: &Threshold) -> Option<String> {
    let (probability, guarantee) = (threshold.probability, threshold.guarantee?);
    Some(match decision {
        Decision::Accept => format!("at most {probability:.3}, so accepted: {}", guarantee.describe("accepted", "wrong")),
        _ => format!("at least {probability:.3}, so flagged: {}", guarantee.describe("flagged", "right")),
    })
}

/// A score that the calibration has not seen the like of.
fn outside(calibrator: &Calibrator, value: f64) -> Option<String> {
    let reference = calibrator.reference.as_ref().filter(|reference| reference.is_outside(value))?;
    let ((low, high), score) = (reference.range(), &calibrator.score);
    Some(format!("{score} is {value:.4}, outside of the calibration range {low:.4} to {high:.4}: the probability is an extrapolation"))
}
