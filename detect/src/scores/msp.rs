//! Maximum sequence probability: the negative log-probability of the whole response.

use super::{Cost, Missing, Scorer, inputs};
use crate::record::Record;

/// −Σ ln p over the response's tokens.
pub(super) struct Msp;

impl Scorer for Msp {
    fn name(&self) -> &'static str {
        "msp"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[inputs::TOKEN_LOGPROBS]
    }

    fn cost(&self) -> Cost {
        Cost::OnePass
    }

    fn citation(&self) -> &'static str {
        "Fadeeva et al. 2023, LM-Polygraph (arXiv 2311.07383), maximum sequence probability"
    }

    fn summary(&self) -> &'static str {
        "negative log-probability of the response, nats"
    }

    fn score(&self, record: &Record) -> Result<f64, Missing> {
        Ok(-inputs::logprobs(record)?.iter().sum::<f64>())
    }
}
