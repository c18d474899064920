//! When a loss counts as a spike, and what follows.

use serde::{Deserialize, Serialize};

use super::{outside, require};
use crate::train::error::Result;

/// What a spike leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpikeAction {
    /// Nothing: spikes are not looked for.
    Off,
    /// A sentence, and the run goes on.
    #[default]
    Warn,
    /// The run ends with the same sentence as an error.
    Stop,
}

/// A spike is a value above the median of the steps before it by more than so many robust deviations (1.4826 × the median absolute
/// deviation, which is the standard deviation where values are normal), for some steps in a row. Of no effect on the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchdogConfig {
    /// What a spike leads to.
    pub action: SpikeAction,
    /// Robust deviations that the loss may stand above its median.
    pub threshold: f64,
    /// Nats that it may stand above, where that is less; none = the deviations alone decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absolute: Option<f64>,
    /// Robust deviations that the gradient's norm may stand above its median.
    pub gradient_threshold: f64,
    /// Steps in a row that make a spike; at most half of `window`.
    pub patience: usize,
    /// Steps whose median is taken.
    pub window: usize,
}

impl Default for WatchdogConfig {
    fn default() -> Self {
        let (threshold, gradient_threshold) = (8.0, 30.0);
        Self { action: SpikeAction::default(), threshold, absolute: None, gradient_threshold, patience: 3, window: 128 }
    }
}

impl WatchdogConfig {
    pub(super) fn check(&self) -> Result<()> {
        let positive = [("threshold", self.threshold), ("gradient_threshold", self.gradient_threshold)];
        for (key, value) in positive.into_iter().chain(self.absolute.map(|value| ("absolute", value))) {
            let sentence = || outside(&format!("watchdog.{key}"), value, "the positive numbers");
            require(value.is_finite() && value > 0.0, sentence)?;
        }
        require((2..=1 << 16).contains(&self.window), || outside("watchdog.window", self.window, "2 to 65536"))?;
        let most = self.window / 2;
        require((1..=most).contains(&self.patience), || {
            outside("watchdog.patience", self.patience, &format!("1 to {most} (half of window)"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_be_judged_by_are_refused_by_name() {
        let refused = |text: &str| toml::from_str::<WatchdogConfig>(text).unwrap().check().unwrap_err().to_string();
        assert!(refused("threshold = 0.0").contains("watchdog.threshold is 0, outside the positive numbers"));
        assert!(refused("gradient_threshold = nan").contains("watchdog.gradient_threshold"));
        assert!(refused("absolute = -1.0").contains("watchdog.absolute"));
        assert!(refused("window = 1").contains("watchdog.window"));
        assert!(refused("patience = 65").contains("watchdog.patience is 65, outside 1 to 64 (half of window)"));
        assert!(toml::from_str::<WatchdogConfig>("action = \"shout\"").is_err());
        assert!(toml::from_str::<WatchdogConfig>("treshold = 3.0").is_err());
    }
}
