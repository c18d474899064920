//! Scores that learn from records beforehand, with labels or without.

use crate::scores::Scorer;

/// In the order they are listed.
pub(super) const SCORERS: &[&dyn Scorer] = &[];
