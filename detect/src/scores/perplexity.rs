//! Length-normalised log-probability, the logarithm of the perplexity; the grey-box Avg(-log p) of SelfCheckGPT.

use super::{Cost, Missing, Scorer, inputs};
use crate::record::Record;

/// −mean ln p over the response's tokens.
pub(super) struct Perplexity;

impl Scorer for Perplexity {
    fn name(&self) -> &'static str {
        "perplexity"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[inputs::TOKEN_LOGPROBS]
    }

    fn cost(&self) -> Cost {
        Cost::OnePass
    }

    fn citation(&self) -> &'static str {
        "Fomicheva et al. 2020 (arXiv 2005.10608); Manakul et al. 2023, SelfCheckGPT (arXiv 2303.08896), Avg(-log p)"
    }

    fn summary(&self) -> &'static str {
        "mean negative log-probability of a response token, nats (the logarithm of the perplexity)"
    }

    fn score(&self, record: &Record) -> Result<f64, Missing> {
        Ok(-inputs::mean(inputs::logprobs(record)?))
    }
}
