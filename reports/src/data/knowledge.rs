//! What an arm knows about people it was told of more or less often.

use serde::{Deserialize, Serialize};

use super::Interval;

/// The answers of one arm about one group of people, over all its seeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Knowledge {
    /// The arm's name.
    pub arm: String,
    /// The group's label: `never`, `5 ×`, `conflicting`.
    pub group: String,
    /// How often each fact was told in total; 0 = never. `None` for planted groups, which only the table shows.
    pub exposures: Option<u64>,
    /// Number of questions.
    pub questions: u64,
    /// Share of correct answers.
    pub correct: Option<f64>,
    /// Interval of that share.
    pub interval: Option<Interval>,
    /// Mean entropy over the pool's answers, as a share of ln(pool size): 1 = spread over all, 0 = certain.
    pub entropy: Option<f64>,
}
