//! Final loss of every method minus the dense control's, a panel per data set: rings are seeds, filled marks their means.

use plotters::element::Circle;
use plotters::style::Color;

use super::axis::{Axis, Unit};
use super::figure::{Area, Figure, Text, drawn, shortened};
use super::legend::{Entry, Mark, Rows};
use super::marks::Shape;
use super::palette::{Ink, MUTED, TEXT, category};
use super::panel::{Frame, Panel, Pen};
use crate::Error;
use crate::data::{MethodResult, Report, Role};
use crate::methods::Methods;
use crate::units;

/// Space for arm labels, width of a panel with its margin, height of an arm's row, height of all else, in units.
const LABELS: i32 = 440;
const PANEL: i32 = 640;
const ROW: i32 = 46;
const ELSE: i32 = 190;

/// Longest arm label and data set name, in characters.
const LONGEST: usize = 28;

/// The losses after training, arm by arm and seed by seed, as differences from the control's mean.
///
/// # Errors
/// [`Error::NothingToDraw`] where no data set has a control and another arm with a final loss.
pub fn methods_svg(report: &Report) -> Result<String, Error> {
    let methods = Methods::of(report);
    let panels: Vec<Dots<'_>> = (0..methods.datasets.len()).filter_map(|dataset| Dots::of(&methods, dataset)).collect();
    if panels.is_empty() {
        return Err(Error::NothingToDraw { needs: "a dense control and another arm with a final loss" });
    }
    let width = LABELS + PANEL * panels.len() as i32;
    let entries = entries(&methods);
    let rows = Rows::new(&entries, 12, width - 32);
    let height = rows.bottom() + ELSE + ROW * methods.arms.len() as i32;
    let description = panels.iter().map(|dots| dots.words(&methods)).collect::<Vec<_>>().join("; ");
    let figure = Figure { title: "Final loss minus the control's".to_owned(), description, width, height };
    figure.draw(|area| {
        rows.draw(area)?;
        let frame = Frame { left: LABELS, top: rows.bottom() + 72, right: LABELS + PANEL - 48, bottom: height - 92 };
        (0..).zip(&panels).try_for_each(|(place, dots)| dots.draw(area, frame.moved(PANEL * place), &methods, place == 0))
    })
}

/// One data set's differences.
struct Dots<'r> {
    name: &'r str,
    /// One entry per arm: its style and its seeds' differences; empty where it did not run.
    arms: Vec<(Style, Vec<f64>)>,
    x: Axis,
}

/// An arm's colour and shape, by its role.
type Style = (Ink, Shape);

impl<'r> Dots<'r> {
    fn of(methods: &Methods<'r>, dataset: usize) -> Option<Self> {
        let control = methods.control(dataset)?.spread(|seed| seed.final_loss)?.mean;
        let seeds = |result: &MethodResult| -> Vec<f64> {
            result.seeds.iter().filter_map(|seed| seed.final_loss).map(|loss| loss - control).filter(|v| v.is_finite()).collect()
        };
        let result = |arm: &crate::methods::MethodArm<'r>| arm.results.get(dataset).copied().flatten().map(seeds).unwrap_or_default();
        let arms: Vec<(Style, Vec<f64>)> = methods.arms.iter().map(|arm| (style(arm.role()), result(arm))).collect();
        let others = methods.arms.iter().zip(&arms).any(|(arm, (_, seeds))| arm.role() != Role::Control && !seeds.is_empty());
        let x = Axis::linear(
            "minus the control's mean, nats per token",
            Unit::Plain,
            arms.iter().flat_map(|(_, seeds)| seeds.iter().copied()),
        )?;
        others.then_some(Self { name: methods.datasets.get(dataset)?, arms, x })
    }

    /// The panel, with arm labels where it is the first.
    fn draw(&self, area: &Area<'_>, frame: Frame, methods: &Methods<'_>, labelled: bool) -> Result<(), Error> {
        let label = |arm: &crate::methods::MethodArm<'_>| if labelled { shortened(arm.shown(), LONGEST) } else { String::new() };
        let labels: Vec<String> = methods.arms.iter().rev().map(label).collect();
        let y = Axis::ordinal("", &labels);
        let panel = Panel::open(area, frame, &self.x, &y)?;
        let name = shortened(if self.name.is_empty() { "final loss" } else { self.name }, LONGEST);
        Text { bold: true, ..Text::new(&name, TEXT) }.draw(area, (frame.left, frame.top - 30))?;
        let bottom = self.arms.len() as f64 - 0.5;
        panel.line([(0.0, -0.5), (0.0, bottom)], Pen::new(MUTED, 3).dashed())?;
        let row = |place: usize| (self.arms.len() - 1 - place) as f64;
        self.arms.iter().enumerate().try_for_each(|(place, (style, seeds))| arm(&panel, *style, seeds, row(place)))
    }

    /// Every mean, in words.
    fn words(&self, methods: &Methods<'_>) -> String {
        let text = |value| units::signed(units::fixed(Some(value), 3));
        let mean = |seeds: &[f64]| crate::data::mean(seeds.iter().copied()).map(text);
        let arms = methods.arms.iter().zip(&self.arms).filter_map(|(arm, (_, seeds))| Some(format!("{} {}", arm.shown(), mean(seeds)?)));
        format!("{}: {}", self.name, arms.collect::<Vec<_>>().join(", "))
    }
}

/// One arm's range, seeds and mean.
fn arm(panel: &Panel<'_, '_>, (ink, shape): Style, seeds: &[f64], row: f64) -> Result<(), Error> {
    let (low, high) = seeds.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
    panel.line([(low, row), (high, row)], Pen::new(ink, 5).faint(0.55))?;
    for at in seeds.iter().filter_map(|value| panel.at(*value, row)) {
        drawn(panel.area.draw(&Circle::new(at, 7, ink.rgb().stroke_width(3))))?;
    }
    let mean = crate::data::mean(seeds.iter().copied()).and_then(|mean| panel.at(mean, row));
    mean.map_or(Ok(()), |at| shape.draw(panel.area, at, 9, ink))
}

/// The colour and shape of a role.
const fn style(role: Role) -> Style {
    match role {
        Role::Base => (MUTED, Shape::Diamond),
        Role::Control => (TEXT, Shape::Square),
        Role::Upcycled => (category(0), Shape::Circle),
        Role::FromScratch => (category(1), Shape::Triangle),
    }
}

/// The roles there are, then what the dashed line is.
fn entries(methods: &Methods<'_>) -> Vec<Entry> {
    let roles = [
        (Role::Control, "dense control"),
        (Role::Upcycled, "upcycled"),
        (Role::FromScratch, "routed, from scratch"),
        (Role::Base, "dense base"),
    ];
    let present = roles.into_iter().filter(|(role, _)| methods.arms.iter().any(|arm| arm.role() == *role));
    let entry = |(role, label): (Role, &str)| Entry::new(label, style(role).0, Mark::Shape(style(role).1));
    present.map(entry).chain([Entry::new("the control's mean", MUTED, Mark::Dashes)]).collect()
}
