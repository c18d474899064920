//! Hallucination detection: records in, scores and verdicts out.
//!
//! A [`Record`] is a prompt, a model's response and whatever the model left behind while answering: log-probabilities, entropies, further
//! samples. Every score of [`scores::registry`] turns a record into one number, higher = more suspect. [`bench`](mod@bench) measures how well
//! the scores separate wrong answers from right ones, [`calibration`] turns a score into a probability of being wrong and a [`Verdict`].
//!
//! Logarithms are natural, scores are computed in `f64`, and nothing here needs a model or libtorch.

pub mod bench;
pub mod calibration;
pub mod drift;
pub mod eigen;
pub mod entailment;
pub mod fitted;
pub mod guarantee;
pub mod learn;
pub mod metrics;
pub mod reader;
pub mod record;
pub mod scores;
pub mod setup;
pub mod similarity;
pub mod verdict;

pub use record::{Record, Sample, Variant};
pub use scores::Case;
pub use setup::Setup;
pub use verdict::{Decision, Verdict, score_case, score_record};
