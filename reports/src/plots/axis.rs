//! Axes: a range of values, linear or logarithmic, with ticks at round numbers labelled in human units.
//!
//! An axis places a value at a number that the panel maps to pixels: the value itself, or its logarithm to the base 10.
//! Values that cannot be placed (NaN, infinities, beyond 1e150, below zero on a logarithmic axis) are left out.

use crate::units::{self, GAP};

/// Beyond this size differences of values could overflow.
const LARGEST: f64 = 1e150;

/// From this ratio of largest to smallest value on, an axis of costs is logarithmic.
const LOG_FROM: f64 = 5.0;

/// How tick labels are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Shares, as percent.
    Percent,
    /// Decimal prefixes.
    Si,
    /// Plain decimals.
    Plain,
}

/// A labelled place on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    /// Where, in the axis's own measure.
    pub(crate) at: f64,
    /// What stands there.
    pub(crate) label: String,
}

/// An axis; see the module's head.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// What is shown, with its unit.
    pub(crate) title: String,
    /// Round places with labels.
    pub(crate) ticks: Vec<Tick>,
    low: f64,
    high: f64,
    log: bool,
}

impl Axis {
    /// A linear axis around `values`, a little wider than they are; `None` where no value can be placed.
    pub(crate) fn linear(title: &str, unit: Unit, values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (low, high) = range(values)?;
        let margin = ((high - low) * 0.08).max(smallest_margin(low, high));
        Some(Self::between(title, unit, low - margin, high + margin))
    }

    /// A linear axis of shares within 0 to 1, around `values`.
    pub(crate) fn shares(title: &str, values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let axis = Self::linear(title, Unit::Percent, values)?;
        let (low, high) = (axis.low.clamp(0.0, 1.0), axis.high.clamp(0.0, 1.0));
        let fits = low < high && (low, high) != (axis.low, axis.high);
        Some(if fits { Self::between(title, Unit::Percent, low, high) } else { axis })
    }

    /// An axis of costs: logarithmic where they differ much, linear otherwise.
    pub(crate) fn cost(title: &str, values: &[f64]) -> Option<Self> {
        let positive: Vec<f64> = values.iter().copied().filter(|v| *v > 0.0).collect();
        let (low, high) = range(positive.iter().copied())?;
        if high / low < LOG_FROM {
            return Self::linear(title, Unit::Si, positive);
        }
        let margin = (high / low).log10() * 0.08;
        Some(Self::decades(title, low.log10() - margin, high.log10() + margin))
    }

    /// A linear axis from `low` to `high` exactly.
    pub(crate) fn between(title: &str, unit: Unit, low: f64, high: f64) -> Self {
        let ticks = linear_ticks(low, high, unit);
        Self { title: title.to_owned(), ticks, low, high, log: false }
    }

    /// An axis of named places 0, 1, 2, ….
    pub(crate) fn ordinal(title: &str, labels: &[String]) -> Self {
        let tick = |(place, label): (usize, &String)| Tick { at: place as f64, label: label.clone() };
        let ticks = labels.iter().enumerate().map(tick).collect();
        Self { title: title.to_owned(), ticks, low: -0.5, high: labels.len() as f64 - 0.5, log: false }
    }

    /// A logarithmic axis between two powers of ten.
    fn decades(title: &str, low: f64, high: f64) -> Self {
        let ticks = decade_ticks(low, high);
        Self { title: title.to_owned(), ticks, low, high, log: true }
    }

    /// Where `value` stands, as a share of the axis's length from its low end; `None` for values it cannot place.
    pub(crate) fn place(&self, value: f64) -> Option<f64> {
        let at = if self.log { value.log10() } else { value };
        let share = self.share(at);
        (placeable(value) && share.is_finite()).then(|| share.clamp(0.0, 1.0))
    }

    /// Where a tick stands, as a share of the axis's length.
    pub(crate) fn share(&self, at: f64) -> f64 {
        (at - self.low) / (self.high - self.low)
    }
}

/// Smallest and largest placeable value, a smallest span apart.
fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let kept = values.into_iter().filter(|v| placeable(*v));
    kept.fold(None, |range, v| {
        let (low, high) = range.unwrap_or((v, v));
        Some((low.min(v), high.max(v)))
    })
}

/// Whether a value can stand on an axis at all.
fn placeable(value: f64) -> bool {
    value.abs() <= LARGEST
}

/// The margin that keeps an axis of (nearly) identical values from collapsing.
fn smallest_margin(low: f64, high: f64) -> f64 {
    let size = low.abs().max(high.abs());
    if low == high { (size * 0.1).max(0.01) } else { (size * 1e-3).max(1e-9) }
}

/// The round step, 1, 2 or 5 times a power of ten, that gives at most about eight ticks over `span`.
fn step(span: f64) -> f64 {
    let raw = span / 7.0;
    let power = 10_f64.powf(raw.log10().floor());
    let round = |f: &&f64| raw <= **f * power * 1.0001;
    [1.0, 2.0, 5.0].iter().find(round).unwrap_or(&10.0) * power
}

/// Ticks at multiples of a round step.
fn linear_ticks(low: f64, high: f64, unit: Unit) -> Vec<Tick> {
    let step = step(high - low);
    let first = (low / step - 1e-6).ceil();
    let places = (0..12).map(|i| (first + f64::from(i)) * step);
    let inside = places.take_while(|at| *at <= high + step * 1e-6);
    inside.map(|at| Tick { at, label: label(at, step, low.abs().max(high.abs()), unit) }).collect()
}

/// A tick's label, with just the digits its step needs.
fn label(value: f64, step: f64, largest: f64, unit: Unit) -> String {
    let (factor, name) = match unit {
        Unit::Percent => (0.01, "%"),
        Unit::Si => units::prefix(largest),
        Unit::Plain => (1.0, ""),
    };
    let digits = (-(step / factor * 1.0001).log10().floor()).clamp(0.0, 6.0) as usize;
    let scaled = value / factor;
    if scaled == 0.0 && unit == Unit::Si {
        return "0".to_owned();
    }
    if scaled.abs() >= 1e6 {
        return format!("{scaled:.0e}{name}");
    }
    let number = units::minus(format!("{scaled:.digits$}"));
    if name.is_empty() { number } else { format!("{number}{GAP}{name}") }
}

/// Ticks at 1, 2 and 5 times powers of ten, or at powers of ten alone where there are many.
fn decade_ticks(low: f64, high: f64) -> Vec<Tick> {
    let every = ((high - low) / 8.0).ceil().max(1.0) as usize;
    let steps: &[f64] = if high - low < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let powers = (low.floor() as i32..=high.ceil() as i32).step_by(every);
    let values = powers.flat_map(|p| steps.iter().map(move |s| s * 10_f64.powi(p)));
    let inside = values.filter(|v| (low..=high).contains(&v.log10()));
    inside.map(|v| Tick { at: v.log10(), label: label(v, v, v, Unit::Si) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks.iter().map(|tick| tick.label.replace(GAP, " ")).collect()
    }

    #[test]
    fn ticks_stand_at_round_numbers_in_human_units() {
        let shares = Axis::between("", Unit::Percent, 0.0, 1.0);
        assert_eq!(labels(&shares), ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]);
        let eighths = Axis::between("", Unit::Percent, 0.10, 0.128);
        assert_eq!(labels(&eighths), ["10.0 %", "10.5 %", "11.0 %", "11.5 %", "12.0 %", "12.5 %"]);
        let millions = Axis::between("", Unit::Si, 2.15e6, 3.1e6);
        assert_eq!(labels(&millions), ["2.2 M", "2.4 M", "2.6 M", "2.8 M", "3.0 M"]);
        let losses = Axis::between("", Unit::Plain, -0.5, 2.0);
        assert_eq!(labels(&losses), ["−0.5", "0.0", "0.5", "1.0", "1.5", "2.0"]);
    }

    #[test]
    fn costs_far_apart_stand_on_decades() {
        let axis = Axis::cost("", &[1e6, 2e9, f64::NAN, -3.0]).unwrap();
        assert_eq!(labels(&axis), ["1 M", "10 M", "100 M", "1 G"]);
        assert!(axis.place(1e6) < axis.place(2e9));
        assert_eq!(axis.place(-1.0), None);
    }

    #[test]
    fn hopeless_values_give_no_axis_and_identical_ones_a_sound_one() {
        assert!(Axis::linear("", Unit::Plain, [f64::NAN, f64::INFINITY, 1e300]).is_none());
        assert!(Axis::cost("", &[0.0, -1.0]).is_none());
        for value in [0.0, 0.5, -3.0, 1e-300, 1e149, 7.0] {
            let axis = Axis::linear("", Unit::Plain, [value; 3]).unwrap();
            let place = axis.place(value).unwrap();
            assert!((place - 0.5).abs() < 1e-6, "{value} stands at {place}");
            assert!(axis.ticks.len() <= 12);
        }
    }

    #[test]
    fn shares_stay_between_none_and_all() {
        let axis = Axis::shares("", [0.9, 1.0]).unwrap();
        assert_eq!(axis.place(1.0), Some(1.0));
        assert!(Axis::shares("", [1.0, 1.0]).is_some());
        assert!(Axis::shares("", [0.0]).is_some());
    }
}
