//! How a run spreads over processes.

use serde::{Deserialize, Serialize};

use super::{outside, require};
use crate::train::error::Result;

/// Spreading over ranks; of no effect in a single process. The weights do not depend on it beyond the order of sums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ParallelConfig {
    /// Ranks that share one set of experts, each holding its part; 1 = every rank holds all. Divides the number of ranks and of experts.
    pub experts: usize,
    /// MiB of gradients that are summed over ranks at a time, while the backward pass goes on.
    pub bucket_mib: usize,
    /// Seconds after which a silent rank counts as lost.
    pub timeout_seconds: u64,
}

impl Default for ParallelConfig {
    fn default() -> Self {
        Self { experts: 1, bucket_mib: 25, timeout_seconds: 600 }
    }
}

impl ParallelConfig {
    pub(super) fn check(&self) -> Result<()> {
        require(self.experts > 0, || outside("parallel.experts", self.experts, "the numbers from 1 on"))?;
        require((1..=1 << 16).contains(&self.bucket_mib), || outside("parallel.bucket_mib", self.bucket_mib, "1 to 65536"))?;
        require(self.timeout_seconds > 0, || outside("parallel.timeout_seconds", self.timeout_seconds, "the numbers from 1 on"))
    }
}
