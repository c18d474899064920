//! Lookback Lens: whether the heads look back at the prompt or at what the model itself has written.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::table::{check_labels, label, table};
use super::{parameters, read};
use crate::learn::FitError;
use crate::learn::logistic::Logistic;
use crate::record::Record;
use crate::scores::{Card, Case, Cost, Learned, Missing, Model, Scorer, Training};

const NAME: &str = "lookback_ratio";
const FIELD: &str = "attention.lookback";

/// Log-odds of a wrong response, by a logistic regression on every head's lookback ratio.
pub(super) struct LookbackRatio;

impl Scorer for LookbackRatio {
    fn card(&self) -> &'static Card {
        &Card {
            name: NAME,
            needs: &[FIELD],
            cost: Cost::OnePass,
            citation: "Chuang et al. 2024 (arXiv 2407.07071); voidism/Lookback-Lens",
            summary: "log-odds of wrong, from each head's share of attention on the prompt; learned from labels",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        case.fitted(NAME)?.score(case)
    }

    fn learned(&self) -> Option<&dyn Learned> {
        Some(self)
    }
}

impl Learned for LookbackRatio {
    fn supervised(&self) -> bool {
        true
    }

    fn fit(&self, training: &Training<'_>) -> Result<Box<dyn Model>, FitError> {
        let found = table(&training.records, 4, |record| Ok((ratios(record)?.to_vec(), label(record)?)))?;
        check_labels(&found.beside)?;
        Ok(Box::new(Heads { logistic: Logistic::fit(found.rows.view(), &found.beside, 1.0)? }))
    }

    fn read(&self, value: &Value) -> Result<Box<dyn Model>, serde_json::Error> {
        read::<Heads>(value)
    }
}

fn ratios(record: &Record) -> Result<&[f64], Missing> {
    match record.attention.as_ref().map(|attention| attention.lookback.as_slice()) {
        None | Some([]) => Err(Missing::Field(FIELD)),
        Some(ratios) => Ok(ratios),
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Heads {
    logistic: Logistic,
}

impl Model for Heads {
    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        let (ratios, expected) = (ratios(case.record)?, self.logistic.weights.len());
        if ratios.len() != expected {
            return Err(Missing::Width { field: FIELD, expected, found: ratios.len() });
        }
        Ok(self.logistic.log_odds(ratios))
    }

    fn parameters(&self) -> Value {
        parameters(self)
    }

    fn summary(&self) -> String {
        format!("{} heads", self.logistic.weights.len())
    }
}
