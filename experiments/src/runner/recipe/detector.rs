//! How a recipe takes one detector through its whole life: scores fitted on some people, chosen and calibrated on others, judged on the rest.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// The detector of the pre-trained model: every test question in several wordings, every score, a calibrated verdict.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectorRecipe {
    /// Wordings in which every test question is asked; the answers to the others are each record's variants.
    pub wordings: usize,
    /// Layers, from 0, whose hidden states are kept; the middle one if none is named.
    pub hidden_layers: Vec<usize>,
    /// Share of the people of every group that learned scores are fitted on.
    pub fit_share: f64,
    /// Share of the others on which score and calibration are chosen and fitted; the rest judges.
    pub calibration_share: f64,
    /// Bound on the share of wrong answers among those accepted.
    pub alpha: f64,
    /// Confidence of the bound.
    pub confidence: f64,
    /// Random partings of the judged people on which the promises are put to the test.
    pub partings: usize,
    /// Seed of fits, partings and resamples.
    pub seed: u64,
}

impl Default for DetectorRecipe {
    fn default() -> Self {
        Self {
            wordings: 3,
            hidden_layers: Vec::new(),
            fit_share: 0.15,
            calibration_share: 0.35,
            alpha: 0.1,
            confidence: 0.9,
            partings: 2000,
            seed: 0,
        }
    }
}

impl DetectorRecipe {
    pub(super) fn check(&self) -> Result<()> {
        if self.wordings == 0 || self.partings == 0 {
            bail!("detector: wordings and partings must be at least 1");
        }
        let open = [self.fit_share, self.calibration_share, self.alpha, self.confidence];
        if !open.iter().all(|&share| share > 0.0 && share < 1.0) {
            bail!("detector: fit_share, calibration_share, alpha and confidence must lie between 0 and 1");
        }
        Ok(())
    }
}
