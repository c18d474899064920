//! Where probabilities part into accept, review and flag.

use serde::{Deserialize, Serialize};

use super::CalibrationError;
use crate::guarantee::Guarantee;
use crate::verdict::Decision;

/// A probability at which the decision changes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The last one accepted, or the first one flagged.
    pub probability: f64,
    /// What can be promised of the responses beyond; `None` where the probability was chosen by hand.
    pub guarantee: Option<Guarantee>,
}

/// Accepted at most here, flagged from there on; a person reviews what lies between. Without a threshold nothing is accepted, or flagged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// At most this probability of being wrong is accepted.
    pub accept: Option<Threshold>,
    /// At least this probability is flagged.
    pub flag: Option<Threshold>,
}

impl Default for Thresholds {
    /// Accept what is at most one time in five wrong, flag what is more likely wrong than right: by hand, without a promise.
    fn default() -> Self {
        let by_hand = |probability| Some(Threshold { probability, guarantee: None });
        Self { accept: by_hand(0.2), flag: by_hand(0.5) }
    }
}

impl Thresholds {
    /// Thresholds by hand.
    ///
    /// # Errors
    /// Unless 0 ≤ accept < flag ≤ 1.
    pub fn new(accept: f64, flag: f64) -> Result<Self, CalibrationError> {
        if !(0.0 <= accept && accept < flag && flag <= 1.0) {
            return Err(CalibrationError::Thresholds { accept, flag });
        }
        let by_hand = |probability| Some(Threshold { probability, guarantee: None });
        Ok(Self { accept: by_hand(accept), flag: by_hand(flag) })
    }

    /// The decision at a probability of being wrong.
    pub fn decide(&self, probability: f64) -> Decision {
        match (self.accept, self.flag) {
            (_, Some(flag)) if probability >= flag.probability => Decision::Flag,
            (Some(accept), _) if probability <= accept.probability => Decision::Accept,
            _ => Decision::Review,
        }
    }

    /// The threshold that led to a decision.
    pub(crate) fn behind(&self, decision: Decision) -> Option<Threshold> {
        match decision {
            Decision::Accept => self.accept,
            Decision::Review => None,
            Decision::Flag => self.flag,
        }
    }

    pub(super) fn fault(&self) -> Option<&'static str> {
        let inside = |threshold: Option<Threshold>| threshold.is_none_or(|threshold| (0.0..=1.0).contains(&threshold.probability));
        let parted = self.accept.zip(self.flag).is_none_or(|(accept, flag)| accept.probability < flag.probability);
        (!parted || !inside(self.accept) || !inside(self.flag)).then_some("its thresholds are not accept < flag within 0 to 1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_part_the_probabilities() {
        let thresholds = Thresholds::new(0.2, 0.5).expect("in order");
        let expected = [Decision::Accept, Decision::Accept, Decision::Review, Decision::Flag];
        assert_eq!([0.1, 0.2, 0.49, 0.5].map(|p| thresholds.decide(p)), expected);
        assert!(Thresholds::new(0.6, 0.5).is_err() && Thresholds::new(0.1, f64::NAN).is_err());
    }

    #[test]
    fn without_a_threshold_a_person_decides() {
        let none = Thresholds { accept: None, flag: None };
        assert_eq!([0.0, 1.0].map(|p| none.decide(p)), [Decision::Review; 2]);
    }
}
