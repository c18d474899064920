//! Learning-rate schedules: a rate is a function of the step and nothing else.
//!
//! `cosine`, `linear`, `constant` follow a linear warm-up from zero. `reset` is for a model whose first training ended at the floor: a
//! short warm-up from the floor back to (near) the peak, then a cosine, as in NVIDIA's upcycling study (arXiv 2410.07524).

use serde::{Deserialize, Serialize};

use super::error::Result;
use super::recipe::{coefficient, outside, require};

/// Shape of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Half a cosine from the peak to the floor (SGDR without restarts, arXiv 1608.03983).
    #[default]
    Cosine,
    /// A straight line from the peak to the floor.
    Linear,
    /// The peak to the end.
    Constant,
    /// As `cosine`, but the warm-up starts at the floor instead of zero.
    Reset,
}

/// A warm-up, then a decay to the floor, which the last step reaches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Shape after the warm-up.
    #[serde(default)]
    pub kind: ScheduleKind,
    /// Highest learning rate.
    pub peak: f64,
    /// Steps of linear warm-up; the last of them is the first at the peak.
    #[serde(default)]
    pub warmup_steps: u64,
    /// The floor as a share of the peak.
    #[serde(default = "default_floor")]
    pub min_ratio: f64,
}

fn default_floor() -> f64 {
    0.1
}

impl Schedule {
    /// The learning rate of step `step` (counted from 1) of `steps`.
    pub fn rate(&self, step: u64, steps: u64) -> f64 {
        let (step, warmup) = (step.min(steps) as f64, self.warmup_steps as f64);
        if step < warmup {
            let start = if self.kind == ScheduleKind::Reset { self.min_ratio } else { 0.0 };
            return self.peak * (start + (1.0 - start) * step / warmup);
        }
        let progress = (step - warmup) / (steps as f64 - warmup).max(1.0);
        self.peak * (self.min_ratio + (1.0 - self.min_ratio) * self.kind.remaining(progress))
    }

    /// Refuses values no rate can be computed from.
    ///
    /// # Errors
    /// Names the key, its value and its bounds.
    pub fn check(&self, steps: u64) -> Result<()> {
        coefficient("schedule.peak", self.peak)?;
        require((0.0..=1.0).contains(&self.min_ratio), || outside("schedule.min_ratio", self.min_ratio, "0 to 1"))?;
        require(self.warmup_steps <= steps, || outside("schedule.warmup_steps", self.warmup_steps, &format!("0 to {steps} (steps)")))
    }
}

impl ScheduleKind {
    /// Share of the way from floor to peak that is left after `progress` of the decay, both from 0 to 1.
    fn remaining(self, progress: f64) -> f64 {
        match self {
            Self::Cosine | Self::Reset => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Self::Linear => 1.0 - progress,
            Self::Constant => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: ScheduleKind) -> Schedule {
        Schedule { kind, peak: 2.0, warmup_steps: 4, min_ratio: 0.1 }
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
    }

    #[test]
    fn warms_up_linearly_and_ends_at_the_floor() {
        for (kind, middle) in [(ScheduleKind::Cosine, 1.1), (ScheduleKind::Linear, 1.1), (ScheduleKind::Constant, 2.0)] {
            let s = schedule(kind);
            near(s.rate(1, 10), 0.5);
            near(s.rate(4, 10), 2.0);
            near(s.rate(7, 10), middle);
            near(s.rate(10, 10), if kind == ScheduleKind::Constant { 2.0 } else { 0.2 });
        }
        // A third of the way, half a cosine stands at three quarters.
        near(schedule(ScheduleKind::Cosine).rate(6, 10), 2.0 * (0.1 + 0.9 * 0.75));
    }

    #[test]
    fn reset_warms_up_from_the_floor() {
        let s = schedule(ScheduleKind::Reset);
        near(s.rate(1, 10), 2.0 * (0.1 + 0.9 * 0.25));
        near(s.rate(4, 10), 2.0);
        near(s.rate(10, 10), 0.2);
    }

    #[test]
    fn refuses_nonsense() {
        assert!(Schedule { peak: f64::NAN, ..schedule(ScheduleKind::Cosine) }.check(10).is_err());
        assert!(Schedule { min_ratio: 1.5, ..schedule(ScheduleKind::Cosine) }.check(10).is_err());
        assert_eq!(
            schedule(ScheduleKind::Cosine).check(3).map_err(|e| e.to_string()),
            Err("recipe: schedule.warmup_steps is 4, outside 0 to 3 (steps)".into())
        );
    }
}
