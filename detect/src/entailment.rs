//! Does one text follow from another? The interface of natural-language inference back-ends.

mod cached;
mod server;
mod table;

use std::fmt;

use crate::similarity::BackendError;

pub use cached::Cached;
pub use server::Served;
pub use table::{Table, TableError};

/// Probabilities of the three relations of a hypothesis to a premise; they sum to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// The hypothesis follows.
    pub entailment: f64,
    /// Neither.
    pub neutral: f64,
    /// It cannot be true as well.
    pub contradiction: f64,
}

/// A judge of (premise, hypothesis) pairs.
pub trait Entailment: Sync + Send + fmt::Debug {
    /// The back-end's name.
    fn name(&self) -> &'static str;
    /// One judgement a pair, in order. Many pairs at once, so that a model can batch them.
    ///
    /// # Errors
    /// When the model behind it fails.
    fn judge(&self, pairs: &[(&str, &str)]) -> Result<Vec<Judgement>, BackendError>;
    /// How many pairs were longer than the back-end takes, and cut, so far.
    fn truncated(&self) -> u64 {
        0
    }
    /// How many pairs it gave no clear judgement on, and called neutral, so far.
    fn unclear(&self) -> u64 {
        0
    }
}

impl Judgement {
    /// A text beside itself.
    pub const SAME: Self = Self { entailment: 1.0, neutral: 0.0, contradiction: 0.0 };

    /// The likeliest relation is entailment.
    pub fn entails(&self) -> bool {
        self.entailment >= self.neutral && self.entailment >= self.contradiction
    }

    /// The likeliest relation is contradiction.
    pub fn contradicts(&self) -> bool {
        self.contradiction > self.entailment && self.contradiction > self.neutral
    }
}
