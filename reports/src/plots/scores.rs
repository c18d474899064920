//! ROC and risk–coverage curves of the hallucination scores on one arm.
//!
//! The best scores are drawn in colour, the `length` baseline dashed, the others faintly; the legend stands below
//! the panel, best first, with the number that sums each curve up.

use super::axis::{Axis, Unit};
use super::figure::{Area, Figure, Text};
use super::legend::{Entry, Mark, ROW, column};
use super::palette::{MUTED, TEXT};
use super::panel::{Frame, Panel, Pen};
use super::ranking::{BASELINE, Ranking};
use crate::Error;
use crate::data::{Curve2d, Point, Report};
use crate::units;

/// Size of the panel with its labels, in units; the legend adds its height.
const SIZE: (i32, i32) = (1120, 720);

/// Longest score name in a legend, in characters.
const LONGEST: usize = 26;

/// More points than this in a curve are thinned out evenly.
const MOST_POINTS: usize = 300;

/// ROC curves of all scores on `arm`.
///
/// # Errors
/// [`Error::NothingToDraw`] where the arm has no curve with a finite point.
pub fn roc_svg(report: &Report, arm: &str) -> Result<String, Error> {
    let axis = |title| Axis::between(title, Unit::Percent, 0.0, 1.0);
    let x = axis("false positive rate: right answers flagged");
    let y = axis("true positive rate: wrong answers flagged");
    let auroc = |score: &str| {
        let row = report.scores.iter().find(|row| row.arm == arm && row.score == score);
        row.and_then(|row| row.auroc).map(|v| units::fixed(Some(v), 3))
    };
    let plot = Plot { heading: "AUROC of each score", x, y, chance: true, curves: of_arm(&report.roc, arm), summary: &auroc };
    plot.draw(report, format!("ROC curves of {arm}"))
}

/// Risk–coverage curves of all scores on `arm`; the legend gives the risk at 80 % coverage.
///
/// # Errors
/// [`Error::NothingToDraw`] where the arm has no curve with a finite point.
pub fn risk_coverage_svg(report: &Report, arm: &str) -> Result<String, Error> {
    let curves = of_arm(&report.risk_coverage, arm);
    let risks = curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.y));
    let needs = Error::NothingToDraw { needs: NEEDS };
    let y = Axis::shares("risk: wrong among the answers given", risks.chain([0.0])).ok_or(needs)?;
    let x = Axis::between("coverage: answers given, least suspect first", Unit::Percent, 0.0, 1.0);
    let risk = |score: &str| {
        let curve = report.risk_coverage.iter().find(|curve| curve.arm == arm && curve.score == score)?;
        at_coverage(&curve.points, 0.8).map(|risk| units::percent(Some(risk)))
    };
    let plot = Plot { heading: "Risk of each score at 80 % coverage", x, y, chance: false, curves, summary: &risk };
    plot.draw(report, format!("Risk–coverage curves of {arm}"))
}

/// What both plots need.
const NEEDS: &str = "a score's curve on this arm";

/// A score's name to the number that sums its curve up.
type Summary<'r> = &'r dyn Fn(&str) -> Option<String>;

/// Curves in a panel with a legend beside it.
struct Plot<'r> {
    heading: &'static str,
    x: Axis,
    y: Axis,
    chance: bool,
    curves: Vec<&'r Curve2d>,
    summary: Summary<'r>,
}

impl Plot<'_> {
    fn draw(mut self, report: &Report, title: String) -> Result<String, Error> {
        let finite = |curve: &&Curve2d| curve.points.iter().any(|p| p.x.is_finite() && p.y.is_finite());
        self.curves.retain(finite);
        if self.curves.is_empty() {
            return Err(Error::NothingToDraw { needs: NEEDS });
        }
        let ranking = Ranking::of(report);
        self.curves.sort_by_key(|curve| ranking.place(&curve.score));
        let entries = self.entries(&ranking);
        let height = SIZE.1 + 72 + ROW * entries.len().div_ceil(2) as i32;
        let figure = Figure { title, description: self.words(), width: SIZE.0, height };
        figure.draw(|area| {
            let frame = Frame::inside(SIZE.0, SIZE.1, 0);
            self.lines(&Panel::open(area, frame, &self.x, &self.y)?, &ranking)?;
            self.legend(area, &entries)
        })
    }

    /// The curves, best last so that it lies on top.
    fn lines(&self, panel: &Panel<'_, '_>, ranking: &Ranking) -> Result<(), Error> {
        if self.chance {
            panel.line([(0.0, 0.0), (1.0, 1.0)], Pen::new(MUTED, 2).faint(0.5))?;
        }
        for curve in self.curves.iter().rev() {
            let pen = match (curve.score.as_str(), ranking.ink(&curve.score)) {
                (BASELINE, _) => Pen::new(MUTED, 4).dashed(),
                (_, Some(ink)) => Pen::new(ink, 5),
                (_, None) => Pen::new(MUTED, 3).faint(0.4),
            };
            panel.line(thinned(&curve.points), pen)?;
        }
        Ok(())
    }

    /// Heading and entries below the panel, in two columns.
    fn legend(&self, area: &Area<'_>, entries: &[Entry]) -> Result<(), Error> {
        Text { bold: true, ..Text::new(self.heading, TEXT) }.draw(area, (32, SIZE.1 + 26))?;
        let (left, right) = entries.split_at(entries.len().div_ceil(2));
        column(area, left, (32, SIZE.1 + 66))?;
        column(area, right, (32 + SIZE.0 / 2, SIZE.1 + 66))
    }

    fn entries(&self, ranking: &Ranking) -> Vec<Entry> {
        let entry = |curve: &&Curve2d| {
            let label = self.label(&curve.score);
            match (curve.score.as_str(), ranking.ink(&curve.score)) {
                (BASELINE, _) => Entry::new(&label, MUTED, Mark::Dashes),
                (_, ink) => Entry::new(&label, ink.unwrap_or(MUTED), Mark::Line),
            }
        };
        self.curves.iter().map(entry).collect()
    }

    /// The number that sums the curve up, then the score's name.
    fn label(&self, score: &str) -> String {
        let number = (self.summary)(score).unwrap_or_else(|| units::MISSING.to_owned());
        format!("{number}  {}", super::figure::shortened(score, LONGEST))
    }

    fn words(&self) -> String {
        let labels: Vec<String> = self.curves.iter().map(|curve| self.label(&curve.score)).collect();
        format!("{}: {}", self.heading, labels.join(", "))
    }
}

/// The curves of one arm.
fn of_arm<'r>(curves: &'r [Curve2d], arm: &str) -> Vec<&'r Curve2d> {
    curves.iter().filter(|curve| curve.arm == arm).collect()
}

/// The height of the last point whose coverage is at most `coverage`, the first point's where none is.
fn at_coverage(points: &[Point], coverage: f64) -> Option<f64> {
    let finite = || points.iter().filter(|p| p.x.is_finite() && p.y.is_finite());
    let below = finite().filter(|p| p.x <= coverage + 1e-9);
    below.max_by(|a, b| a.x.total_cmp(&b.x)).or(finite().next()).map(|p| p.y)
}

/// Every so many points, and always the last.
fn thinned(points: &[Point]) -> impl Iterator<Item = (f64, f64)> + '_ {
    let every = points.len().div_ceil(MOST_POINTS).max(1);
    points.iter().step_by(every).chain(points.last()).map(|p| (p.x, p.y))
}
