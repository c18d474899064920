//! What each arm knows about people by how often it was told of them, from never on.

use super::axis::{Axis, Unit};
use super::figure::Figure;
use super::legend::{Entry, Rows};
use super::palette::{ArmStyle, ArmStyles};
use super::panel::{Frame, Panel, Pen};
use crate::Error;
use crate::data::{Knowledge, Report};

/// What is shown by exposure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnowledgeAxis {
    /// Share of correct answers.
    Correct,
    /// Mean entropy over the pool's answers, as a share of ln(pool size).
    Entropy,
}

/// Size of the panel, in units.
const SIZE: (i32, i32) = (1120, 700);

/// Sideways distance between arms at the same exposure, as a share of a group's width.
const APART: f64 = 0.13;

/// One quantity by exposure, arms side by side within each group, with the intervals that were given.
///
/// # Errors
/// [`Error::NothingToDraw`] where no group with an exposure has it.
pub fn knowledge_svg(report: &Report, axis: KnowledgeAxis) -> Result<String, Error> {
    let plot = Plot::new(report, axis).ok_or(Error::NothingToDraw { needs: "answers by how often a fact was told" })?;
    let styles: Vec<ArmStyle> = plot.arms.iter().map(|arm| plot.styles.get(arm)).collect();
    let entries: Vec<Entry> = styles.iter().map(Entry::arm).collect();
    let rows = Rows::new(&entries, 12, SIZE.0 - 32);
    let height = SIZE.1 + rows.bottom();
    let (title, description) = (axis.title().to_owned(), plot.words());
    let figure = Figure { title, description, width: SIZE.0, height };
    figure.draw(|area| {
        rows.draw(area)?;
        let panel = Panel::open(area, Frame::inside(SIZE.0, height, rows.bottom()), &plot.x, &plot.y)?;
        plot.arms.iter().zip(&styles).enumerate().try_for_each(|(place, (arm, style))| plot.arm(&panel, place, arm, style))
    })
}

impl KnowledgeAxis {
    const fn title(self) -> &'static str {
        match self {
            Self::Correct => "Correct answers by exposure",
            Self::Entropy => "Uncertainty by exposure",
        }
    }

    const fn vertical(self) -> &'static str {
        match self {
            Self::Correct => "correct answers",
            Self::Entropy => "entropy over the pool's answers / ln(pool size)",
        }
    }

    fn of(self, row: &Knowledge) -> Option<f64> {
        let value = match self {
            Self::Correct => row.correct,
            Self::Entropy => row.entropy,
        };
        value.filter(|v| v.is_finite())
    }
}

/// The rows that have an exposure, and where they stand.
struct Plot<'r> {
    axis: KnowledgeAxis,
    rows: Vec<&'r Knowledge>,
    exposures: Vec<u64>,
    arms: Vec<&'r str>,
    styles: ArmStyles,
    x: Axis,
    y: Axis,
}

impl<'r> Plot<'r> {
    fn new(report: &'r Report, axis: KnowledgeAxis) -> Option<Self> {
        let shown = |row: &&Knowledge| row.exposures.is_some() && axis.of(row).is_some();
        let rows: Vec<&Knowledge> = report.knowledge.iter().filter(shown).collect();
        let mut exposures: Vec<u64> = rows.iter().filter_map(|row| row.exposures).collect();
        exposures.sort_unstable();
        exposures.dedup();
        let labels: Vec<String> = exposures.iter().map(|times| told(*times)).collect();
        let x = Axis::ordinal("how often each fact was told, in total", &labels);
        let unit = if axis == KnowledgeAxis::Correct { Unit::Percent } else { Unit::Plain };
        let y = Axis::between(axis.vertical(), unit, 0.0, 1.0);
        let arms = arms(&rows);
        (!rows.is_empty()).then(|| Self { axis, rows, exposures, arms, styles: ArmStyles::of(report), x, y })
    }

    /// One arm's line, intervals and markers.
    fn arm(&self, panel: &Panel<'_, '_>, place: usize, arm: &str, style: &ArmStyle) -> Result<(), Error> {
        let offset = (place as f64 - (self.arms.len() as f64 - 1.0) / 2.0) * APART.min(0.7 / self.arms.len() as f64);
        let points: Vec<_> = self.points(arm).into_iter().map(|(x, row)| (x + offset, row)).collect();
        let values = points.iter().filter_map(|(x, row)| Some((*x, self.axis.of(row)?)));
        panel.line(values.clone(), Pen::new(style.ink, 4).faint(0.55))?;
        for (x, row) in points.iter().filter(|_| self.axis == KnowledgeAxis::Correct) {
            if let Some(interval) = row.interval.filter(|interval| interval.is_valid()) {
                panel.line([(*x, interval.low), (*x, interval.high)], Pen::new(style.ink, 5))?;
            }
        }
        let pixels = values.filter_map(|(x, y)| panel.at(x, y));
        pixels.into_iter().try_for_each(|at| style.shape.draw(panel.area, at, 10, style.ink))
    }

    /// The arm's rows, by where their exposure stands.
    fn points(&self, arm: &str) -> Vec<(f64, &Knowledge)> {
        let of_arm = self.rows.iter().filter(|row| row.arm == arm);
        let placed = of_arm.filter_map(|row| {
            let place = self.exposures.binary_search(&row.exposures?).ok()?;
            Some((place as f64, *row))
        });
        let mut points: Vec<_> = placed.collect();
        points.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        points
    }

    /// Every value, in words.
    fn words(&self) -> String {
        let value = |row: &&Knowledge| {
            let (label, value) = (self.styles.get(&row.arm).label, crate::units::percent(self.axis.of(row)));
            format!("{label} told {} times {value}", row.exposures.unwrap_or(0))
        };
        self.rows.iter().map(value).collect::<Vec<_>>().join(", ")
    }
}

/// An exposure as a tick label.
fn told(times: u64) -> String {
    match times {
        0 => "never".to_owned(),
        _ => format!("{} ×", crate::units::count(Some(times))),
    }
}

/// The arms in the order they appear.
fn arms<'r>(rows: &[&'r Knowledge]) -> Vec<&'r str> {
    let mut arms: Vec<&str> = Vec::new();
    for row in rows {
        if !arms.contains(&row.arm.as_str()) {
            arms.push(&row.arm);
        }
    }
    arms
}
