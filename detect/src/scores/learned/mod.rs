//! Scores that learn from records beforehand, with labels or without.
//!
//! Each file holds the score, how it is fitted, and the model that the fit leaves. What is read of a record is read the same way in both.

mod ensemble;
mod haloscope;
mod lookback_ratio;
mod mahalanobis;
mod relative_mahalanobis;
mod saplma;
mod semantic_entropy_probe;
mod table;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::scores::{Model, Scorer};

/// In the order they are listed.
pub(super) const SCORERS: &[&dyn Scorer] = &[
    &mahalanobis::Mahalanobis,
    &relative_mahalanobis::RelativeMahalanobis,
    &semantic_entropy_probe::SemanticEntropyProbe,
    &saplma::Saplma,
    &lookback_ratio::LookbackRatio,
    &haloscope::Haloscope,
    &ensemble::Ensemble,
];

/// A model from its file.
fn read<M: Model + DeserializeOwned + 'static>(value: &Value) -> Result<Box<dyn Model>, serde_json::Error> {
    Ok(Box::new(M::deserialize(value)?))
}

/// A model as it stands in a file.
fn parameters<M: Serialize>(model: &M) -> Value {
    serde_json::to_value(model).unwrap_or(Value::Null)
}
