//! Reliability of calibrated probabilities: what was promised against what came true.

use super::axis::{Axis, Unit};
use super::figure::Figure;
use super::marks::Shape;
use super::palette::{MUTED, category};
use super::panel::{Frame, Panel, Pen};
use crate::Error;
use crate::data::{Calibrated, ReliabilityBin};
use crate::units::percent;

/// Size in units.
const SIZE: (i32, i32) = (1120, 760);

/// Radii of the marks, in units: by the share of the answers in a bin.
const RADIUS: (f64, f64) = (7.0, 22.0);

/// Mean probability, share wrong, answers.
type Bin = (f64, f64, usize);

/// Share wrong against mean probability of each bin; the diagonal is perfect calibration, a mark's size its share of the answers.
///
/// # Errors
/// [`Error::NothingToDraw`] without bins.
pub fn reliability_svg(calibrated: &Calibrated) -> Result<String, Error> {
    let finite =
        |bin: &ReliabilityBin| Some((bin.predicted?, bin.wrong?, bin.answers)).filter(|(p, wrong, _)| p.is_finite() && wrong.is_finite());
    let bins: Vec<Bin> = calibrated.bins.iter().filter_map(finite).collect();
    let largest = bins.iter().map(|bin| bin.2).max().ok_or(Error::NothingToDraw { needs: "calibrated probabilities" })?.max(1);
    let axis = |title| Axis::between(title, Unit::Percent, 0.0, 1.0);
    let (x, y) = (axis("probability of being wrong, as calibrated"), axis("share that was wrong"));
    let title = format!("Reliability of {}", calibrated.score);
    let figure = Figure { title, description: words(&bins), width: SIZE.0, height: SIZE.1 };
    figure.draw(|area| {
        let panel = Panel::open(area, Frame::inside(SIZE.0, SIZE.1, 0), &x, &y)?;
        panel.line([(0.0, 0.0), (1.0, 1.0)], Pen::new(MUTED, 2).faint(0.5))?;
        panel.line(bins.iter().map(|bin| (bin.0, bin.1)), Pen::new(category(0), 3).faint(0.6))?;
        bins.iter().try_for_each(|(p, wrong, answers)| {
            let radius = RADIUS.0 + (RADIUS.1 - RADIUS.0) * (*answers as f64 / largest as f64).sqrt();
            panel.at(*p, *wrong).map_or(Ok(()), |at| Shape::Circle.draw(area, at, radius as i32, category(0)))
        })
    })
}

fn words(bins: &[Bin]) -> String {
    let bin = |(p, wrong, n): &Bin| format!("{} said, {} wrong of {n}", percent(Some(*p)), percent(Some(*wrong)));
    bins.iter().map(bin).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_drawn_and_none_are_said_to_be_missing() {
        assert!(matches!(reliability_svg(&Calibrated::default()), Err(Error::NothingToDraw { .. })));
        let bin = |(predicted, wrong, answers)| ReliabilityBin { predicted: Some(predicted), wrong, answers };
        let bins = [(0.1, Some(0.12), 30), (0.8, None, 3), (0.9, Some(0.85), 40)].map(bin).to_vec();
        let calibrated = Calibrated { bins, ..Calibrated::default() };
        let svg = reliability_svg(&calibrated).unwrap();
        assert_eq!(svg.matches("<circle").count(), 4, "two marks, each with its rim");
        assert!(svg.contains("wrong of 30; ") && !svg.contains("wrong of 3;"), "{svg}");
    }
}
