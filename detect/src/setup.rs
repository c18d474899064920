//! What scoring runs with: how texts are compared, who judges entailment, and what was fitted beforehand.

use std::sync::{Mutex, PoisonError};

use crate::entailment::Entailment;
use crate::fitted::Fitted;
use crate::similarity::{BackendError, NormalisedExactMatch, RougeL, Similarity, TokenJaccard};

/// The back-ends and fitted parameters that scores read. [`Setup::default`] needs no model.
#[derive(Debug)]
pub struct Setup {
    /// Compares answers and parts of answers where a score calls for a similarity (SAR, CoCoA); default ROUGE-L.
    pub similarity: Box<dyn Similarity>,
    /// Weighs the edges of the answer graphs (`degmat`, `eccentricity`, `eigval_laplacian`); default Jaccard index of words.
    pub graph: Box<dyn Similarity>,
    /// When two answers mean the same; default normalised exact match.
    pub equivalence: Equivalence,
    /// Judges whether a text entails another; none by default: it takes a model.
    pub entailment: Option<Box<dyn Entailment>>,
    /// What learned scores have learnt; nothing by default.
    pub fitted: Fitted,
    /// How often a model behind it failed.
    pub trouble: Trouble,
}

/// Failures of the models behind a setup, counted over all records.
#[derive(Debug, Default)]
pub struct Trouble(Mutex<Option<(usize, String)>>);

impl Trouble {
    /// Counts a failure.
    pub(crate) fn note(&self, error: &BackendError) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_or_insert_with(|| (0, error.to_string())).0 += 1;
    }

    /// How many there were, and the first.
    pub fn told(&self) -> Option<(usize, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Setup {
    /// How many texts were longer than the models take, and cut, so far.
    pub fn truncated(&self) -> u64 {
        let equivalence = match &self.equivalence {
            Equivalence::Similar { by, .. } => by.truncated(),
            Equivalence::Bidirectional | Equivalence::NoContradiction => 0,
        };
        let entailment = self.entailment.as_ref().map_or(0, |judge| judge.truncated());
        self.similarity.truncated() + self.graph.truncated() + equivalence + entailment
    }
}

/// When two answers count as one meaning.
#[derive(Debug)]
pub enum Equivalence {
    /// Their similarity reaches the threshold.
    Similar {
        /// The similarity.
        by: Box<dyn Similarity>,
        /// From here on they are equivalent.
        threshold: f64,
    },
    /// Each entails the other (Kuhn et al. 2023).
    Bidirectional,
    /// Neither contradicts the other, and not both are neutral: what the code of Farquhar et al. 2024 does by default.
    NoContradiction,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            similarity: Box::new(RougeL),
            graph: Box::new(TokenJaccard),
            equivalence: Equivalence::default(),
            entailment: None,
            fitted: Fitted::default(),
            trouble: Trouble::default(),
        }
    }
}

impl Default for Equivalence {
    fn default() -> Self {
        Self::Similar { by: Box::new(NormalisedExactMatch), threshold: 0.5 }
    }
}
