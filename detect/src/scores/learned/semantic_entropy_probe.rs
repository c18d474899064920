//! Semantic entropy without samples: a probe that has learnt to read it from one hidden state.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::table::{Place, States, table};
use super::{parameters, read};
use crate::learn::FitError;
use crate::learn::logistic::Logistic;
use crate::record::Record;
use crate::scores::{Card, Case, Cost, Learned, Missing, Model, Scorer, Training, find};
use crate::setup::Setup;

const NAME: &str = "semantic_entropy_probe";
/// The entropies it may learn, in order of preference.
const TARGETS: [&str; 2] = ["semantic_entropy", "discrete_semantic_entropy"];
/// Thresholds tried between 0 and the largest entropy.
const SPLITS: usize = 100;

/// Log-odds, by a logistic probe on the state at the prompt's last token (else at the answer's last but one), that the semantic entropy of the
/// model's answers is high.
pub(super) struct SemanticEntropyProbe;

impl Scorer for SemanticEntropyProbe {
    fn card(&self) -> &'static Card {
        &Card {
            name: NAME,
            needs: &["hidden[].prompt or hidden[].before_last"],
            cost: Cost::OnePass,
            citation: "Kossen et al. 2024 (arXiv 2406.15927); OATML/semantic-entropy-probes",
            summary: "log-odds of high semantic entropy, from one hidden state; learned from samples, without labels",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        case.fitted(NAME)?.score(case)
    }

    fn learned(&self) -> Option<&dyn Learned> {
        Some(self)
    }
}

impl Learned for SemanticEntropyProbe {
    fn supervised(&self) -> bool {
        false
    }

    fn fit(&self, training: &Training<'_>) -> Result<Box<dyn Model>, FitError> {
        let at = |place| States::middle(&training.records, place);
        let states = at(Place::Prompt).or_else(|_| at(Place::BeforeLast))?;
        let read = |record: &Record, target: &str| Ok((states.of(record)?, entropy(record, training.setup, target)?));
        let [first, second] = TARGETS.map(|target| table(&training.records, 4, |record| read(record, target)).map(|found| (found, target)));
        let (found, target) = first.or(second)?;
        let threshold = best_split(&found.beside);
        let high: Vec<bool> = found.beside.iter().map(|&entropy| entropy >= threshold).collect();
        if high.iter().all(|&one| one) || !high.contains(&true) {
            return Err(FitError::SingleClass { items: high.len(), class: "of equal semantic entropy" });
        }
        Ok(Box::new(Probe { states, target: target.to_owned(), threshold, logistic: Logistic::fit(found.rows.view(), &high, 1.0)? }))
    }

    fn read(&self, value: &Value) -> Result<Box<dyn Model>, serde_json::Error> {
        read::<Probe>(value)
    }
}

fn entropy(record: &Record, setup: &Setup, target: &str) -> Result<f64, Missing> {
    find(target).map_err(|_| Missing::Fit(NAME))?.score(&Case::with(record, setup))
}

/// The threshold, of a hundred between 0 and the largest entropy, that leaves the least variance within the two sides: section 4 of the paper.
fn best_split(entropies: &[f64]) -> f64 {
    let largest = entropies.iter().copied().fold(0.0, f64::max);
    let split = |step: usize| 1e-10 + (largest - 1e-10) * step as f64 / (SPLITS - 1) as f64;
    let error = |threshold: f64| {
        let (low, high): (Vec<f64>, Vec<f64>) = entropies.iter().partition(|&&entropy| entropy < threshold);
        squared_error(&low) + squared_error(&high)
    };
    (0..SPLITS).map(split).min_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap_or(0.0)
}

/// Sum of squared distances from the mean.
fn squared_error(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

#[derive(Debug, Serialize, Deserialize)]
struct Probe {
    states: States,
    target: String,
    threshold: f64,
    logistic: Logistic,
}

impl Model for Probe {
    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        Ok(self.logistic.log_odds(&self.states.sized(case.record, self.logistic.weights.len())?))
    }

    fn parameters(&self) -> Value {
        parameters(self)
    }

    fn summary(&self) -> String {
        format!("{}, {} of at least {:.3} nats counts as high", self.states, self.target, self.threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_bunches_are_split_between_them() {
        let threshold = best_split(&[0.0, 0.1, 0.2, 2.0, 2.1, 2.3]);
        assert!(threshold > 0.2 && threshold <= 2.0, "{threshold}");
        assert!(best_split(&[]) <= 1e-10 && best_split(&[0.0, 0.0]) <= 1e-10);
    }
}
