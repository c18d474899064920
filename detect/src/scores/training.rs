//! Learned scores: what they learn from, and what they have learnt.

use std::fmt;

use serde_json::Value;

use super::{Case, Missing};
use crate::learn::FitError;
use crate::metrics::Groups;
use crate::record::Record;
use crate::setup::Setup;

/// A score with parameters that are fitted on records beforehand.
pub trait Learned: Sync {
    /// Whether it needs `label`; else the records alone are enough.
    fn supervised(&self) -> bool;
    /// Learns. Records that lack what it needs are passed over.
    ///
    /// # Errors
    /// Says in one sentence why the records do not allow a fit.
    fn fit(&self, training: &Training<'_>) -> Result<Box<dyn Model>, FitError>;
    /// What [`Model::parameters`] wrote.
    ///
    /// # Errors
    /// Parameters that are damaged or of another kind.
    fn read(&self, parameters: &Value) -> Result<Box<dyn Model>, serde_json::Error>;
}

/// What a learned score has learnt.
pub trait Model: Sync + Send + fmt::Debug {
    /// The score of a record, higher = more suspect.
    ///
    /// # Errors
    /// [`Missing`] says what the record lacks.
    fn score(&self, case: &Case<'_>) -> Result<f64, Missing>;
    /// The parameters as they stand in a file.
    fn parameters(&self) -> Value;
    /// What was learnt, in one line for a reader.
    fn summary(&self) -> String;
}

/// What learned scores learn from.
#[derive(Debug, Clone)]
pub struct Training<'a> {
    /// The records.
    pub records: Vec<&'a Record>,
    /// Which of them belong together, by place in `records`.
    pub groups: Groups,
    /// Records of no particular domain, for scores that compare with one.
    pub background: Vec<&'a Record>,
    /// What other scores are computed with, where one learns from them.
    pub setup: &'a Setup,
    /// The scores an ensemble combines; `None` for all that are not learned.
    pub members: Option<Vec<String>>,
    /// Seeds whatever is drawn.
    pub seed: u64,
}

impl<'a> Training<'a> {
    /// Every record a group of its own, no background, seed 0.
    pub fn new(records: Vec<&'a Record>, setup: &'a Setup) -> Self {
        Self { groups: Groups::single(records.len()), records, background: Vec::new(), setup, members: None, seed: 0 }
    }

    /// The records at the given places, with their groups.
    #[must_use]
    pub fn part(&self, places: &[usize]) -> Self {
        Self {
            records: places.iter().filter_map(|&place| self.records.get(place).copied()).collect(),
            groups: self.groups.within(places),
            ..self.clone()
        }
    }
}
