//! Quality against the cost of inference: every arm's mean over seeds, its seeds, and their range or interval.
//!
//! The dense control's mean runs through the picture as a dashed line. Arms of (nearly) the same cost are moved
//! apart sideways by a few pixels so that their ranges stay apart; a panel's description says so. A thin line joins the Pareto front:
//! arms that no other one beats at no more cost, by their means.

use super::axis::{Axis, Unit};
use super::dodge::apart;
use super::figure::{Area, Figure, Text, drawn};
use super::legend::{Entry, Mark, Rows};
use super::palette::{ArmStyles, MUTED, TEXT};
use super::panel::{Frame, Panel, Pen};
use super::pareto::front;
use crate::Error;
use crate::data::{Arm, Measure, Report, Role};
use crate::units;
use plotters::element::Circle;
use plotters::style::Color;
use plotters::style::text_anchor::HPos;

/// What inference costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// FLOPs per token.
    Flops,
    /// Bytes read from memory per token.
    Bytes,
    /// Measured milliseconds per token, one sequence alone.
    Latency,
    /// The same of eight sequences side by side.
    LatencyBatch8,
    /// Energy of a thousand tokens.
    Energy,
}

/// Size of a single panel, in units.
const SIZE: (i32, i32) = (1120, 720);

impl Cost {
    /// The arm's cost, where it is known and above zero.
    #[must_use]
    pub fn of(self, arm: &Arm) -> Option<f64> {
        let cost = match self {
            Self::Flops => arm.flops_per_token,
            Self::Bytes => arm.bytes_per_token,
            Self::Latency => arm.latency_ms,
            Self::LatencyBatch8 => arm.latency_batch8_ms,
            Self::Energy => arm.wh_per_1000_tokens,
        };
        cost.filter(|v| v.is_finite() && *v > 0.0)
    }

    /// The axis's title.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Flops => "inference FLOPs per token",
            Self::Bytes => "bytes read per token",
            Self::Latency => "measured latency at batch 1, ms per token",
            Self::LatencyBatch8 => "measured latency at batch 8, ms per token",
            Self::Energy => "energy, Wh per 1,000 tokens",
        }
    }
}

/// Facts known and validation loss against inference FLOPs per token, side by side: the picture that answers the
/// platform's question.
///
/// # Errors
/// [`Error::NothingToDraw`] where no arm has FLOPs and either measure.
pub fn quality_curve_svg(report: &Report) -> Result<String, Error> {
    let all = [Measure::FactsKnown, Measure::ValidationLoss];
    let panels: Vec<Measures<'_>> = all.into_iter().filter_map(|m| Measures::new(report, m, Cost::Flops)).collect();
    render(report, &panels, "Quality against inference FLOPs")
}

/// One measure of quality against one cost.
///
/// # Errors
/// [`Error::NothingToDraw`] where no arm has both.
pub fn quality_svg(report: &Report, measure: Measure, cost: Cost) -> Result<String, Error> {
    let panels: Vec<Measures<'_>> = Measures::new(report, measure, cost).into_iter().collect();
    render(report, &panels, &format!("{} against {}", measure.title(), cost.title()))
}

/// Draws panels side by side under a common legend.
fn render(report: &Report, panels: &[Measures<'_>], title: &str) -> Result<String, Error> {
    if panels.is_empty() {
        return Err(Error::NothingToDraw { needs: "an arm with its cost per token and a seed's result" });
    }
    let styles = ArmStyles::of(report);
    let width = SIZE.0 * panels.len() as i32;
    let entries = entries(panels, &styles);
    let rows = Rows::new(&entries, 12, width - 32);
    let height = SIZE.1 + rows.bottom();
    let description = panels.iter().map(Measures::words).collect::<Vec<_>>().join("; ");
    let figure = Figure { title: title.to_owned(), description, width, height };
    figure.draw(|area| {
        rows.draw(area)?;
        for (place, panel) in panels.iter().enumerate() {
            let frame = Frame::inside(SIZE.0, height, rows.bottom()).moved(SIZE.0 * place as i32);
            panel.draw(area, frame, &styles)?;
        }
        Ok(())
    })
}

/// A legend entry for every arm that some panel shows.
fn entries(panels: &[Measures<'_>], styles: &ArmStyles) -> Vec<Entry> {
    let Some(panel) = panels.iter().max_by_key(|panel| panel.arms.len()) else { return Vec::new() };
    let mut entries: Vec<Entry> = panel.arms.iter().map(|arm| Entry::arm(&styles.get(&arm.arm.name))).collect();
    if panel.arms.iter().any(|arm| arm.arm.role == Role::Control) {
        entries.push(Entry::new("the control's mean", MUTED, Mark::Dashes));
    }
    if panels.iter().any(|panel| panel.front().len() > 1) {
        entries.push(Entry::new("Pareto front", TEXT, Mark::Line));
    }
    entries
}

/// The arms that have a measure and a cost, with the axes they stand on.
struct Measures<'r> {
    measure: Measure,
    cost: Cost,
    arms: Vec<Placed<'r>>,
    x: Axis,
    y: Axis,
}

/// An arm with its cost, its mean and the ends of its bar.
struct Placed<'r> {
    arm: &'r Arm,
    cost: f64,
    mean: f64,
    bar: (f64, f64),
    capped: bool,
}

impl<'r> Placed<'r> {
    fn new(arm: &'r Arm, measure: Measure, cost: Cost) -> Option<Self> {
        let spread = arm.spread(measure)?;
        let interval = arm.intervals.get(&measure).filter(|interval| interval.is_valid());
        let bar = interval.map_or((spread.low, spread.high), |i| (i.low, i.high));
        Some(Self { arm, cost: cost.of(arm)?, mean: spread.mean, bar, capped: interval.is_some() })
    }
}

impl<'r> Measures<'r> {
    /// `None` where no arm has both measure and cost.
    fn new(report: &'r Report, measure: Measure, cost: Cost) -> Option<Self> {
        let arms: Vec<Placed<'_>> = report.arms.iter().filter_map(|arm| Placed::new(arm, measure, cost)).collect();
        let costs: Vec<f64> = arms.iter().map(|arm| arm.cost).collect();
        let seeds = arms.iter().flat_map(|arm| arm.arm.seeds.iter().filter_map(|seed| measure.of(seed)));
        let values: Vec<f64> = seeds.chain(arms.iter().flat_map(|arm| [arm.bar.0, arm.bar.1])).collect();
        let y = match measure.is_share() {
            true => Axis::shares(axis_title(measure), values),
            false => Axis::linear(axis_title(measure), Unit::Plain, values),
        };
        Some(Self { measure, cost, x: Axis::cost(cost.title(), &costs)?, y: y?, arms })
    }

    /// What the panel shows, for who cannot see it.
    fn words(&self) -> String {
        let arm = |arm: &Placed<'_>| format!("{} {}", arm.arm.shown(), written(self.measure, arm.mean));
        let arms: Vec<String> = self.arms.iter().map(arm).collect();
        let front: Vec<&str> = self.front().iter().map(|arm| arm.arm.shown()).collect();
        format!("{} by {}: {}; Pareto front: {}", self.measure.title(), self.cost.title(), arms.join(", "), front.join(", "))
    }

    /// Arms that no other one beats at no more cost, the cheapest first.
    fn front(&self) -> Vec<&Placed<'r>> {
        let points: Vec<(f64, f64)> = self.arms.iter().map(|arm| (arm.cost, arm.mean)).collect();
        front(&points, self.measure.higher_is_better()).into_iter().map(|place| &self.arms[place]).collect()
    }

    fn draw(&self, area: &Area<'_>, frame: Frame, styles: &ArmStyles) -> Result<(), Error> {
        let panel = Panel::open(area, frame, &self.x, &self.y)?;
        self.hint(&panel, frame)?;
        for control in self.arms.iter().filter(|arm| arm.arm.role == Role::Control) {
            self.reference(&panel, control.mean)?;
        }
        let front = self.front().into_iter().filter_map(|arm| panel.at(arm.cost, arm.mean)).collect::<Vec<_>>();
        if front.len() > 1 {
            Pen::new(TEXT, 2).faint(0.7).path(panel.area, front)?;
        }
        let places: Vec<Option<(i32, i32)>> = self.arms.iter().map(|arm| panel.at(arm.cost, arm.mean)).collect();
        let columns = apart(&places.iter().map(|place| place.map_or(0, |(x, _)| x)).collect::<Vec<_>>());
        self.arms.iter().zip(columns).try_for_each(|(arm, x)| self.arm(&panel, arm, x, styles))
    }

    /// Which way is better, at the panel's upper right.
    fn hint(&self, panel: &Panel<'_, '_>, frame: Frame) -> Result<(), Error> {
        let text = if self.measure.higher_is_better() { "↑ better" } else { "↓ better" };
        let at = (frame.right, frame.top - 34);
        Text::new(text, MUTED).anchored(HPos::Right).draw(panel.area, at)
    }

    fn reference(&self, panel: &Panel<'_, '_>, mean: f64) -> Result<(), Error> {
        let Some((_, y)) = self.arms.first().and_then(|arm| panel.at(arm.cost, mean)) else { return Ok(()) };
        let (left, right) = panel.sides();
        Pen::new(MUTED, 3).dashed().path(panel.area, vec![(left, y), (right, y)])
    }

    /// Bar, seeds and mean of one arm, in the column `x`.
    fn arm(&self, panel: &Panel<'_, '_>, arm: &Placed<'_>, x: i32, styles: &ArmStyles) -> Result<(), Error> {
        let style = styles.get(&arm.arm.name);
        let height = |value| panel.at(arm.cost, value).map(|(_, y)| y);
        if let (Some(low), Some(high)) = (height(arm.bar.0), height(arm.bar.1)) {
            Pen::new(style.ink, 5).faint(0.55).path(panel.area, vec![(x, low), (x, high)])?;
            for y in [low, high].into_iter().filter(|_| arm.capped) {
                Pen::new(style.ink, 4).path(panel.area, vec![(x - 9, y), (x + 9, y)])?;
            }
        }
        for y in arm.arm.seeds.iter().filter_map(|seed| self.measure.of(seed)).filter_map(height) {
            drawn(panel.area.draw(&Circle::new((x, y), 6, style.ink.rgb().stroke_width(3))))?;
        }
        let Some(mean) = height(arm.mean) else { return Ok(()) };
        style.shape.draw(panel.area, (x, mean), 12, style.ink)?;
        self.value(panel, arm.mean, (x, mean))
    }

    /// The mean in numbers beside its marker, on the side away from the panel's nearer edge.
    fn value(&self, panel: &Panel<'_, '_>, mean: f64, (x, y): (i32, i32)) -> Result<(), Error> {
        let (left, right) = panel.sides();
        let (side, by) = if x < (left + right) / 2 { (HPos::Left, 34) } else { (HPos::Right, -34) };
        Text::new(&written(self.measure, mean), TEXT).anchored(side).draw(panel.area, (x + by, y - 20))
    }
}

/// The vertical axis's title.
const fn axis_title(measure: Measure) -> &'static str {
    match measure {
        Measure::FactsKnown => "facts known",
        Measure::ValidationLoss => "validation loss, nats per token",
        Measure::MadeUp => "answers made up",
        Measure::BestAuroc => "AUROC of the best score",
    }
}

/// A value in the measure's unit.
fn written(measure: Measure, value: f64) -> String {
    if measure.is_share() { units::percent(Some(value)) } else { units::fixed(Some(value), 3) }
}
