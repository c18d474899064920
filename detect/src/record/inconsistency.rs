//! What can be wrong with a record, in one sentence that names the field and the place.

/// What makes a record contradict itself.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Inconsistency {
    /// A record without a name cannot be reported on.
    #[error("`id` is empty")]
    NoId,
    /// Two per-token lists of one answer differ in length.
    #[error("{first} has {first_len} entries but {second} has {second_len}; both are one entry a token")]
    Lengths {
        /// One list.
        first: String,
        /// Its length.
        first_len: usize,
        /// The other.
        second: String,
        /// Its length.
        second_len: usize,
    },
    /// Two lists within lists differ in length whose entries belong together.
    #[error("{first} has {first_len} entries but {second} has {second_len}; they go together entry by entry")]
    Uneven {
        /// One list.
        first: String,
        /// Its length.
        first_len: usize,
        /// The other.
        second: String,
        /// Its length.
        second_len: usize,
    },
    /// NaN or infinite.
    #[error("{field}[{index}] is {value}, not a finite number")]
    NotFinite {
        /// The list.
        field: String,
        /// Where in it.
        index: usize,
        /// What stands there.
        value: f64,
    },
    /// A probability above one.
    #[error("{field}[{index}] is {value}: a log-probability is at most 0")]
    PositiveLogprob {
        /// The list.
        field: String,
        /// Where in it.
        index: usize,
        /// What stands there.
        value: f64,
    },
    /// A negative entropy.
    #[error("{field}[{index}] is {value}: an entropy is at least 0")]
    NegativeEntropy {
        /// The list.
        field: String,
        /// Where in it.
        index: usize,
        /// What stands there.
        value: f64,
    },
    /// A divergence below zero.
    #[error("{field}[{index}] is {value}: a divergence is at least 0")]
    NegativeDivergence {
        /// The list.
        field: String,
        /// Where in it.
        index: usize,
        /// What stands there.
        value: f64,
    },
    /// A judgement that is no probability.
    #[error("{field} is {value}; it is a probability, 0 to 1")]
    NotProbability {
        /// The field, with its place if it is a list.
        field: String,
        /// What stands there.
        value: f64,
    },
    /// A label that is neither right nor wrong.
    #[error("`label` is {0}; it is 1 for a wrong response and 0 for a right one")]
    Label(u8),
}
