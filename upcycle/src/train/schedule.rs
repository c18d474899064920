//! Learning-rate schedules: a rate is a function of the step and nothing else, so that a resumed run needs no state for it.
//!
//! `cosine`, `linear`, `constant` follow a linear warm-up from zero. `reset` is for a model whose first training ended at the floor: a
//! short warm-up from the floor back to (near) the peak, then a cosine, as in NVIDIA's upcycling study (arXiv 2410.07524). `hybrid` is the
//! schedule of Stability AI's StableLM 2 report (arXiv 2402.17834), which a run may enter anywhere. The rate can be brought back near its
//! peak at any steps (`resets`), and `constant` and `hybrid` can end in a straight line (`cooldown_steps`).

mod curve;

use serde::{Deserialize, Serialize};

use self::curve::Hybrid;
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
    /// The peak to the end, or to the cooldown (warm-up, stable, decay; arXiv 2404.06395).
    Constant,
    /// As `cosine`, but the warm-up starts at the floor instead of zero.
    Reset,
    /// A cosine over the first quarter of `hybrid_steps`, then `α / √(i + β)` (arXiv 2402.17834).
    Hybrid,
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
    /// The floor as a share of the peak; in `hybrid` what its cosine aims at.
    #[serde(default = "default_floor")]
    pub min_ratio: f64,
    /// `N` of `hybrid`: the steps its cosine would take for a whole period.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hybrid_steps: u64,
    /// Steps of `hybrid` that were taken before this run's first: a continuation enters the curve there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_step: u64,
    /// Steps of a straight line at the end of the run (`constant` and `hybrid`); 0 = none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cooldown_steps: u64,
    /// Rate at which the line begins; none = where the curve stands then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown_from: Option<f64>,
    /// Where the line ends, as a share of the peak.
    #[serde(default, skip_serializing_if = "is_nought")]
    pub cooldown_floor: f64,
    /// Steps after which the rate warms up again, from where it stands to `reset_ratio` of the peak within `warmup_steps`, and decays
    /// anew. What decays to a floor reaches it at the next of these steps, or at the end of the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resets: Vec<u64>,
    /// Share of the peak that a reset climbs to.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub reset_ratio: f64,
}

fn default_floor() -> f64 {
    0.1
}

fn whole() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_nought(number: &f64) -> bool {
    *number == 0.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_whole(number: &f64) -> bool {
    *number == 1.0
}

impl Schedule {
    /// The schedule of `kind` with the given peak, and everything else as in a recipe that says no more.
    pub fn new(kind: ScheduleKind, peak: f64) -> Self {
        Self {
            kind,
            peak,
            warmup_steps: 0,
            min_ratio: default_floor(),
            hybrid_steps: 0,
            start_step: 0,
            cooldown_steps: 0,
            cooldown_from: None,
            cooldown_floor: 0.0,
            resets: Vec::new(),
            reset_ratio: whole(),
        }
    }

    /// The learning rate of step `step` (counted from 1) of `steps`.
    pub fn rate(&self, step: u64, steps: u64) -> f64 {
        let (step, turn) = (step.min(steps), steps.saturating_sub(self.cooldown_steps));
        if step < turn || self.cooldown_steps == 0 {
            return self.before_cooldown(step, turn);
        }
        let from = self.cooldown_from.unwrap_or_else(|| self.before_cooldown(turn, turn));
        let left = (steps - step) as f64 / self.cooldown_steps as f64;
        let floor = self.peak * self.cooldown_floor;
        floor + (from - floor) * left
    }

    /// The rate where no cooldown has begun; `end` is the step that decays end at.
    fn before_cooldown(&self, step: u64, end: u64) -> f64 {
        let Some(&reset) = self.resets.iter().rfind(|&&reset| reset < step) else {
            let start = if self.kind == ScheduleKind::Reset { self.peak * self.min_ratio } else { 0.0 };
            return self.period(start, self.peak, self.start_step + step, self.start_step + self.end_of_period(0, end));
        };
        let start = self.before_cooldown(reset, end);
        self.period(start, self.peak * self.reset_ratio, step - reset, self.end_of_period(reset, end) - reset)
    }

    /// The step at which the period that began after `begin` has decayed.
    fn end_of_period(&self, begin: u64, end: u64) -> u64 {
        self.resets.iter().copied().find(|&reset| reset > begin).unwrap_or(end)
    }

    /// The rate at `step` of a period of `length` steps that climbs from `start` to `peak` and decays.
    fn period(&self, start: f64, peak: f64, step: u64, length: u64) -> f64 {
        let (step, warmup, floor) = (step as f64, self.warmup_steps as f64, self.peak * self.min_ratio);
        if step < warmup || (step == warmup && self.kind == ScheduleKind::Hybrid && warmup > 0.0) {
            return start + (peak - start) * step / warmup;
        }
        if self.kind == ScheduleKind::Hybrid {
            return Hybrid { peak, floor, steps: self.hybrid_steps as f64 }.rate(step);
        }
        let progress = (step - warmup) / (length as f64 - warmup).max(1.0);
        floor + (peak - floor) * self.kind.remaining(progress)
    }

    /// Refuses values no rate can be computed from.
    ///
    /// # Errors
    /// Names the key, its value and its bounds.
    pub fn check(&self, steps: u64) -> Result<()> {
        coefficient("schedule.peak", self.peak)?;
        require((0.0..=1.0).contains(&self.min_ratio), || outside("schedule.min_ratio", self.min_ratio, "0 to 1"))?;
        self.check_kind(steps)?;
        self.check_cooldown(steps)?;
        self.check_resets(steps)
    }

    fn check_kind(&self, steps: u64) -> Result<()> {
        let key = |name: &str, value: u64, range: String| outside(&format!("schedule.{name}"), value, &range);
        if self.kind != ScheduleKind::Hybrid {
            let stray = [("hybrid_steps", self.hybrid_steps), ("start_step", self.start_step)].into_iter().find(|(_, value)| *value > 0);
            require(stray.is_none(), || format!("schedule.{} is of use with kind \"hybrid\" only", stray.unwrap_or_default().0))?;
            return require(self.warmup_steps <= steps, || key("warmup_steps", self.warmup_steps, format!("0 to {steps} (steps)")));
        }
        require((4..=1 << 40).contains(&self.hybrid_steps), || key("hybrid_steps", self.hybrid_steps, "4 to 2^40".into()))?;
        require(self.start_step <= 1 << 40, || key("start_step", self.start_step, "0 to 2^40".into()))?;
        let quarter = self.hybrid_steps / 4;
        require(self.warmup_steps <= quarter, || {
            key("warmup_steps", self.warmup_steps, format!("0 to {quarter} (a quarter of hybrid_steps)"))
        })?;
        require(self.min_ratio < 1.0, || outside("schedule.min_ratio", self.min_ratio, "0 to 1, below 1, with kind \"hybrid\""))
    }

    fn check_cooldown(&self, steps: u64) -> Result<()> {
        let length = self.cooldown_steps;
        require(length <= steps, || outside("schedule.cooldown_steps", length, &format!("0 to {steps} (steps)")))?;
        let begins = self.start_step.saturating_add(steps - length);
        require(length == 0 || begins >= self.warmup_steps, || {
            format!("schedule.cooldown_steps is {length}: the warm-up has not ended then")
        })?;
        let ends_so = matches!(self.kind, ScheduleKind::Constant | ScheduleKind::Hybrid);
        require(length == 0 || ends_so, || "schedule.cooldown_steps is of use with kind \"constant\" and \"hybrid\" only".into())?;
        let stray = self.cooldown_from.is_some() || self.cooldown_floor != 0.0;
        require(length > 0 || !stray, || "schedule.cooldown_from and cooldown_floor need cooldown_steps".into())?;
        coefficient("schedule.cooldown_from", self.cooldown_from.unwrap_or_default())?;
        require((0.0..=1.0).contains(&self.cooldown_floor), || outside("schedule.cooldown_floor", self.cooldown_floor, "0 to 1"))
    }

    fn check_resets(&self, steps: u64) -> Result<()> {
        let turn = steps - self.cooldown_steps;
        let climbs = self.reset_ratio <= 1.0 && (self.resets.is_empty() || self.reset_ratio > self.min_ratio);
        require(climbs, || outside("schedule.reset_ratio", self.reset_ratio, &format!("{} (min_ratio) to 1", self.min_ratio)))?;
        let rise = self.resets.is_sorted_by(|a, b| a < b) && self.resets.first().is_none_or(|&first| first > 0);
        require(rise, || format!("schedule.resets is {:?}, expected steps from 1 on, each later than the one before", self.resets))?;
        let last = self.resets.last().copied().unwrap_or_default();
        require(last == 0 || last < turn, || {
            outside("schedule.resets", last, &format!("1 to {} (the steps before the end)", turn.max(1) - 1))
        })
    }
}

impl ScheduleKind {
    /// Share of the way from floor to peak that is left after `progress` of the decay, both from 0 to 1.
    fn remaining(self, progress: f64) -> f64 {
        match self {
            Self::Cosine | Self::Reset => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Self::Linear => 1.0 - progress,
            Self::Constant | Self::Hybrid => 1.0,
        }
    }
}
