//! How a recipe has answers drawn and judged.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// How answers are drawn and judged.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectRecipe {
    /// Questions asked of every model, the planted groups' among them.
    pub questions: usize,
    /// Share of them about the planted groups (ambiguous, wrong).
    pub planted_share: f64,
    /// Sampled answers beside the most probable one.
    pub samples: usize,
    /// Temperature of the samples.
    pub temperature: f64,
    /// Longest answer in tokens.
    pub max_new_tokens: usize,
    /// Questions whose whole pool of answers is scored, of each of: never told, most often told.
    pub pool_questions: usize,
    /// Bootstrap resamples of every interval.
    pub resamples: usize,
    /// Context length at which inference is counted and timed.
    pub context: i64,
    /// Seed of the choice of questions, the samples and the bootstrap.
    pub seed: u64,
}

impl Default for DetectRecipe {
    fn default() -> Self {
        Self {
            questions: 300,
            planted_share: 0.2,
            samples: 10,
            temperature: 1.0,
            max_new_tokens: 16,
            pool_questions: 40,
            resamples: 1000,
            context: 64,
            seed: 0,
        }
    }
}

impl DetectRecipe {
    pub(super) fn check(&self) -> Result<()> {
        if self.questions == 0 || self.samples < 2 || self.max_new_tokens == 0 || self.resamples == 0 || self.context < 1 {
            bail!("detect: questions, max_new_tokens, resamples and context must be at least 1, samples at least 2");
        }
        let warm = self.temperature.is_finite() && self.temperature > 0.0;
        if !warm || !(0.0..=1.0).contains(&self.planted_share) {
            bail!("detect: planted_share must be between 0 and 1, temperature above 0");
        }
        Ok(())
    }
}
