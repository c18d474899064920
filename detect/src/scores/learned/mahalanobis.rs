//! How far a response's hidden states lie from those of other responses of the model.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::table::{Place, States, table};
use super::{parameters, read};
use crate::learn::FitError;
use crate::learn::gaussian::{Gaussian, Regularisation};
use crate::record::Record;
use crate::scores::{Card, Case, Cost, Learned, Missing, Model, Scorer, Training};

const NAME: &str = "mahalanobis";

/// √((h − μ)ᵀ Σ⁻¹ (h − μ)) with h the mean hidden state of a middle layer.
pub(super) struct Mahalanobis;

impl Scorer for Mahalanobis {
    fn card(&self) -> &'static Card {
        &Card {
            name: NAME,
            needs: &["hidden[].mean"],
            cost: Cost::OnePass,
            citation: "Lee et al. 2018 (arXiv 1807.03888); LM-Polygraph, mahalanobis_distance.py",
            summary: "Mahalanobis distance of the mean hidden state of a middle layer from unlabelled responses; learned",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        case.fitted(NAME)?.score(case)
    }

    fn learned(&self) -> Option<&dyn Learned> {
        Some(self)
    }
}

impl Learned for Mahalanobis {
    fn supervised(&self) -> bool {
        false
    }

    fn fit(&self, training: &Training<'_>) -> Result<Box<dyn Model>, FitError> {
        Ok(Box::new(Cloud::fit(&training.records, States::middle(&training.records, Place::Mean)?)?))
    }

    fn read(&self, value: &Value) -> Result<Box<dyn Model>, serde_json::Error> {
        read::<Cloud>(value)
    }
}

/// A Gaussian of hidden states.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cloud {
    states: States,
    gaussian: Gaussian,
}

impl Cloud {
    /// Of the records that have such states.
    pub(super) fn fit(records: &[&Record], states: States) -> Result<Self, FitError> {
        let found = table(records, 2, |record| Ok((states.of(record)?, ())))?;
        Ok(Self { states, gaussian: Gaussian::fit(found.rows.view())? })
    }

    /// The same with the covariance shrunk.
    pub(super) fn shrunk(records: &[&Record], states: States) -> Result<Self, FitError> {
        let found = table(records, 2, |record| Ok((states.of(record)?, ())))?;
        Ok(Self { states, gaussian: Gaussian::shrunk(found.rows.view())? })
    }

    /// Whether its covariance is shrunk.
    pub(super) fn is_shrunk(&self) -> bool {
        matches!(self.gaussian.regularisation, Regularisation::Shrinkage(_))
    }

    /// Distance of a record's states from the mean.
    pub(super) fn distance(&self, record: &Record) -> Result<f64, Missing> {
        let states = self.states.sized(record, self.gaussian.dimensions())?;
        self.gaussian.distance(&states).ok_or(Missing::Finite)
    }
}

impl Model for Cloud {
    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        self.distance(case.record)
    }

    fn parameters(&self) -> Value {
        parameters(self)
    }

    fn summary(&self) -> String {
        let how = match self.gaussian.regularisation {
            Regularisation::Jitter(jitter) => format!("jitter {jitter:e}"),
            Regularisation::Shrinkage(share) => format!("covariance shrunk by {share:.3}: fewer records than dimensions"),
        };
        format!("{}, {} dimensions, {how}", self.states, self.gaussian.dimensions())
    }
}
