//! Hallucination detection: records in, scores and verdicts out.
//!
//! A [`Record`] is a prompt, a model's response and whatever the model left behind while answering: log-probabilities, entropies, further
//! samples. Every score of [`scores::registry`] turns a record into one number, higher = more suspect. [`bench`](mod@bench) measures how well
//! the scores separate wrong answers from right ones, [`calibration`] turns a score into a probability of being wrong and a [`Verdict`].
//!
//! Logarithms are natural, scores are computed in `f64`, and nothing here needs libtorch. Models that compare texts, where a
//! setup has any, are small encoders that run through [`encoder`].

pub mod adapters;
pub mod bench;
pub mod calibration;
mod checksum;
pub mod contrast;
pub mod drift;
pub mod eigen;
pub mod encoder;
pub mod entailment;
pub mod fitted;
pub mod guarantee;
pub mod learn;
pub mod metrics;
pub mod paired;
pub mod reader;
pub mod record;
pub mod scores;
pub mod sentences;
pub mod server;
pub mod setup;
pub mod similarity;
pub mod spans;
pub mod stream;
pub(crate) mod text;
pub mod verdict;

pub use record::{Record, Sample, Variant};
pub use scores::Case;
pub use setup::Setup;
pub use stream::{Tally, score_stream};
pub use verdict::{Decision, Verdict, score_case, score_record};
