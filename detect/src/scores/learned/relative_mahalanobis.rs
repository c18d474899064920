//! How much farther a response's hidden states lie from those of the domain than from those of text in general.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::mahalanobis::Cloud;
use super::table::{Place, States};
use super::{parameters, read};
use crate::learn::FitError;
use crate::scores::{Card, Case, Cost, Learned, Missing, Model, Scorer, Training};

const NAME: &str = "relative_mahalanobis";

/// Distance from the domain less distance from the background. With background records the domain is all records; without, the domain is the
/// responses that are labelled right and the background all of them.
pub(super) struct RelativeMahalanobis;

impl Scorer for RelativeMahalanobis {
    fn card(&self) -> &'static Card {
        &Card {
            name: NAME,
            needs: &["hidden[].mean"],
            cost: Cost::OnePass,
            citation: "Ren et al. 2023 (arXiv 2209.15558); LM-Polygraph, relative_mahalanobis_distance.py",
            summary: "Mahalanobis distance from the domain less that from a background (without one: right responses less all); learned",
        }
    }

    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        case.fitted(NAME)?.score(case)
    }

    fn learned(&self) -> Option<&dyn Learned> {
        Some(self)
    }
}

impl Learned for RelativeMahalanobis {
    fn supervised(&self) -> bool {
        false
    }

    fn fit(&self, training: &Training<'_>) -> Result<Box<dyn Model>, FitError> {
        let states = States::middle(&training.records, Place::Mean)?;
        let right: Vec<_> = training.records.iter().copied().filter(|record| record.wrong() == Some(false)).collect();
        let (domain, background) = match (training.background.is_empty(), right.is_empty()) {
            (false, _) => (&training.records, &training.background),
            (true, false) => (&right, &training.records),
            (true, true) => return Err(FitError::Unfit("background records are needed, or responses labelled right".into())),
        };
        let clouds = Clouds { domain: Cloud::fit(domain, states)?, background: Cloud::fit(background, states)? };
        // Distances from a shrunk and from a whole covariance are of different scales: their difference would tell nothing.
        if clouds.domain.is_shrunk() == clouds.background.is_shrunk() {
            return Ok(Box::new(clouds));
        }
        Ok(Box::new(Clouds { domain: Cloud::shrunk(domain, states)?, background: Cloud::shrunk(background, states)? }))
    }

    fn read(&self, value: &Value) -> Result<Box<dyn Model>, serde_json::Error> {
        read::<Clouds>(value)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Clouds {
    domain: Cloud,
    background: Cloud,
}

impl Model for Clouds {
    fn score(&self, case: &Case<'_>) -> Result<f64, Missing> {
        Ok(self.domain.distance(case.record)? - self.background.distance(case.record)?)
    }

    fn parameters(&self) -> Value {
        parameters(self)
    }

    fn summary(&self) -> String {
        format!("domain: {}; background: {}", self.domain.summary(), self.background.summary())
    }
}
