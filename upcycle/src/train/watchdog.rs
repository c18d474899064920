//! The loss-spike watchdog: tells a loss or a gradient norm that left its course from one that is noisy.
//!
//! What it knows is the last `window` values of both series and how many of the newest stood too high. It follows from the lines of
//! `metrics.jsonl`, so that a resumed run, which replays them, judges as one that was not interrupted.

use std::collections::VecDeque;

use super::metrics::{Line, StepMetrics};
use super::recipe::{SpikeAction, WatchdogConfig};

/// Values before which nothing is judged.
const FEWEST: usize = 16;

/// The least robust deviation, as a share of the median and by itself: a loss that hardly moves may move that much.
const LEAST_SHARE: f64 = 0.01;
const LEAST: f64 = 1e-3;

/// Makes the median absolute deviation of normal values their standard deviation.
const NORMAL: f64 = 1.4826;

/// A series that left its course.
#[derive(Debug, Clone, PartialEq)]
pub struct Spike {
    /// Which series.
    pub what: &'static str,
    /// The step that made it a spike.
    pub step: u64,
    /// The first of the steps in a row.
    pub first: u64,
    /// The value at `step`.
    pub value: f64,
    /// The median of the steps before.
    pub median: f64,
}

/// Watches the losses and gradient norms of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Watchdog {
    config: WatchdogConfig,
    losses: Series,
    norms: Series,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Series {
    window: VecDeque<f64>,
    high: u64, // newest values in a row that stood too high
}

/// How far values may stand above their median.
#[derive(Debug, Clone, Copy)]
struct Limit {
    deviations: f64,
    absolute: f64,
}

impl Watchdog {
    /// A watchdog that has seen the steps among `lines`, in their order.
    pub fn new<'a>(config: &WatchdogConfig, lines: impl IntoIterator<Item = &'a Line>) -> Self {
        let mut watchdog = Self { config: config.clone(), losses: Series::default(), norms: Series::default() };
        for line in lines {
            if let Line::Step(metrics) = line {
                let _ = watchdog.observe(metrics);
            }
        }
        watchdog
    }

    /// Takes note of a step; says so once when it completes a spike. Of two at once, the loss is told.
    pub fn observe(&mut self, metrics: &StepMetrics) -> Option<Spike> {
        if self.config.action == SpikeAction::Off {
            return None;
        }
        let (patience, window, step) = (self.config.patience as u64, self.config.window, metrics.step);
        let loss = Limit { deviations: self.config.threshold, absolute: self.config.absolute.unwrap_or(f64::INFINITY) };
        let norm = Limit { deviations: self.config.gradient_threshold, absolute: f64::INFINITY };
        let series =
            [(&mut self.losses, "the loss", metrics.loss, loss), (&mut self.norms, "the gradient's norm", metrics.grad_norm, norm)];
        let found = series.map(|(series, what, value, limit)| {
            let median = series.completes(value, limit, patience, window)?;
            Some(Spike { what, step, first: step + 1 - patience, value, median })
        });
        found.into_iter().flatten().next()
    }
}

impl Series {
    /// Takes note of `value`; the median where it is the one that completes `patience` high values in a row.
    fn completes(&mut self, value: f64, limit: Limit, patience: u64, window: usize) -> Option<f64> {
        if !value.is_finite() {
            return None;
        }
        let (median, deviation) = course(&self.window);
        let allowed = (limit.deviations * deviation).min(limit.absolute);
        let high = self.window.len() >= FEWEST.min(window) && value > median + allowed;
        self.high = if high { self.high + 1 } else { 0 };
        self.window.push_back(value);
        self.window.drain(..self.window.len().saturating_sub(window));
        (self.high == patience).then_some(median)
    }
}

/// Median and robust deviation; of no values, zero and the least.
fn course(values: &VecDeque<f64>) -> (f64, f64) {
    let centre = median(values.iter().copied().collect());
    let spread = NORMAL * median(values.iter().map(|value| (value - centre).abs()).collect());
    (centre, spread.max(LEAST_SHARE * centre.abs()).max(LEAST))
}

/// The middle value; the mean of both where there are two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(step: u64, loss: f64, grad_norm: f64) -> Line {
        let text = r#"{"step":0,"tokens":8,"loss":0.0,"lr":0.1,"grad_norm":2.0,"tokens_per_second":100.0}"#;
        Line::Step(Box::new(StepMetrics { step, loss, grad_norm, ..serde_json::from_str(text).unwrap() }))
    }

    fn lines(losses: &[f64]) -> Vec<Line> {
        (1..).zip(losses).map(|(step, &loss)| line(step, loss, 1.0)).collect()
    }

    /// All spikes of a run.
    fn spikes(config: &WatchdogConfig, lines: &[Line]) -> Vec<Spike> {
        let mut watchdog = Watchdog::new(config, []);
        let steps = lines.iter().filter_map(|line| if let Line::Step(metrics) = line { Some(metrics) } else { None });
        steps.filter_map(|metrics| watchdog.observe(metrics)).collect()
    }

    /// A loss that falls with a little noise of its own.
    fn course_of(steps: u32) -> Vec<f64> {
        (0..steps).map(|step| 2.0 + 3.0 * (-f64::from(step) / 30.0).exp() + 0.1 * (f64::from(step) * 1.7).sin()).collect()
    }

    #[test]
    fn a_spike_is_told_once_with_its_first_step() {
        let mut losses = course_of(300);
        losses[200..210].fill(6.0);
        let found = spikes(&WatchdogConfig::default(), &lines(&losses));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].what, found[0].first, found[0].step, found[0].value), ("the loss", 201, 203, 6.0));
    }

    #[test]
    fn fewer_steps_than_patience_are_noise() {
        let mut losses = course_of(300);
        losses[200..202].fill(9.0);
        losses[220] = 9.0;
        assert_eq!(spikes(&WatchdogConfig::default(), &lines(&losses)), []);
        assert_eq!(
            spikes(&WatchdogConfig { patience: 1, ..WatchdogConfig::default() }, &lines(&losses)).len(),
            2,
            "one a run of high steps"
        );
    }

    #[test]
    fn nats_decide_where_they_are_less() {
        let mut losses = vec![2.0; 40];
        losses.iter_mut().step_by(2).for_each(|loss| *loss = 3.0);
        losses.extend([4.5; 4]);
        assert_eq!(spikes(&WatchdogConfig::default(), &lines(&losses)), []);
        let found = spikes(&WatchdogConfig { absolute: Some(1.0), ..WatchdogConfig::default() }, &lines(&losses));
        assert_eq!((found.len(), found[0].median), (1, 3.0), "{found:?}");
    }

    #[test]
    fn gradient_norms_are_watched_as_well() {
        let all: Vec<Line> = (1..=40).map(|step| line(step, 2.0, if step > 30 { 5.0 } else { 1.0 })).collect();
        let found = spikes(&WatchdogConfig::default(), &all);
        assert_eq!((found.len(), found[0].what, found[0].first), (1, "the gradient's norm", 31));
        assert_eq!(spikes(&WatchdogConfig { action: SpikeAction::Off, ..WatchdogConfig::default() }, &all), []);
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!([median(vec![]), median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0, 2.0, 3.0])], [0.0, 2.0, 2.5]);
        // Deviations 1, 0, 1, 7 from 3: their median is 1.
        assert_eq!(course(&[2.0, 3.0, 4.0, 10.0, 3.0].into()), (3.0, NORMAL));
    }

    proptest! {
        #[test]
        fn a_run_that_was_cut_anywhere_judges_as_one_that_was_not(
            losses in prop::collection::vec(prop_oneof![9 => 1.0..1.5_f64, 1 => 5.0..9.0_f64], 30..200), cut in 0..200_usize, window in 2..60_usize,
        ) {
            let config = WatchdogConfig { window, patience: 1 + window / 8, ..WatchdogConfig::default() };
            let all = lines(&losses);
            let (before, after) = all.split_at(cut.min(all.len()));
            let mut resumed = Watchdog::new(&config, before);
            let mut straight = Watchdog::new(&config, []);
            for line in before {
                let Line::Step(metrics) = line else { unreachable!() };
                straight.observe(metrics);
            }
            for line in after {
                let Line::Step(metrics) = line else { unreachable!() };
                prop_assert_eq!(resumed.observe(metrics), straight.observe(metrics));
            }
            prop_assert_eq!(resumed, Watchdog::new(&config, &all));
        }

        #[test]
        fn a_loss_that_only_falls_never_spikes(mut losses in prop::collection::vec(0.0..20.0_f64, 1..300)) {
            losses.sort_unstable_by(|a, b| b.total_cmp(a));
            prop_assert_eq!(spikes(&WatchdogConfig { patience: 1, ..WatchdogConfig::default() }, &lines(&losses)), []);
        }

        #[test]
        fn the_unit_of_the_loss_does_not_matter(
            losses in prop::collection::vec(prop_oneof![5 => 8.0..16.0_f64, 1 => 100.0..200.0_f64], 30..120),
        ) {
            let steps = |losses: &[f64]| -> Vec<u64> { spikes(&WatchdogConfig::default(), &lines(losses)).iter().map(|spike| spike.step).collect() };
            let doubled: Vec<f64> = losses.iter().map(|loss| 2.0 * loss).collect();
            prop_assert_eq!(steps(&losses), steps(&doubled));
        }

        #[test]
        fn every_plateau_that_stands_out_is_found(base in 1.0..5.0_f64, begin in 20..80_usize, height in 1.0..10.0_f64) {
            let mut losses: Vec<f64> = (0..100).map(|step| base + 0.05 * f64::from(step % 7) / 7.0).collect();
            losses[begin..begin + 3].iter_mut().for_each(|loss| *loss += height);
            let found = spikes(&WatchdogConfig::default(), &lines(&losses));
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(found[0].first, begin as u64 + 1);
        }
    }
}
