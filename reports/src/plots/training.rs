//! Losses over the tokens of one phase of training: validation as a strong line, training as a faint one.

use super::axis::{Axis, Unit};
use super::figure::Figure;
use super::legend::{Entry, Mark, Rows};
use super::palette::{ArmStyles, MUTED};
use super::panel::{Frame, Panel, Pen};
use crate::Error;
use crate::data::{Curve, Report};

/// Size of the panel, in units.
const SIZE: (i32, i32) = (1120, 700);

/// More points than this in a line are thinned out evenly.
const MOST_POINTS: usize = 400;

/// Losses of every arm and seed in `phase`.
///
/// # Errors
/// [`Error::NothingToDraw`] where the phase has no finite loss.
pub fn training_svg(report: &Report, phase: &str) -> Result<String, Error> {
    let curves: Vec<&Curve> = report.curves.iter().filter(|curve| curve.phase == phase).collect();
    let (x, y) = axes(&curves).ok_or(Error::NothingToDraw { needs: "a loss measured during training" })?;
    let styles = ArmStyles::of(report);
    let entries = entries(&curves, &styles);
    let rows = Rows::new(&entries, 12, SIZE.0 - 32);
    let height = SIZE.1 + rows.bottom();
    let figure = Figure { title: title(phase), description: words(&curves, &styles), width: SIZE.0, height };
    figure.draw(|area| {
        rows.draw(area)?;
        let panel = Panel::open(area, Frame::inside(SIZE.0, height, rows.bottom()), &x, &y)?;
        for curve in &curves {
            let ink = styles.get(&curve.arm).ink;
            panel.line(training(curve), Pen::new(ink, 2).faint(0.28))?;
            panel.line(validation(curve), Pen::new(ink, 5).faint(0.9))?;
        }
        Ok(())
    })
}

/// The axes around all points of the curves.
fn axes(curves: &[&Curve]) -> Option<(Axis, Axis)> {
    let points = || curves.iter().flat_map(|curve| training(curve).into_iter().chain(validation(curve)));
    let last = points().map(|(tokens, _)| tokens).fold(0.0, f64::max);
    let y = Axis::linear("loss, nats per token", Unit::Plain, points().map(|(_, loss)| loss))?;
    Some((Axis::between("training tokens", Unit::Si, 0.0, last.max(1.0)), y))
}

/// One entry per arm, in the order of the curves, then what the two kinds of line mean.
fn entries(curves: &[&Curve], styles: &ArmStyles) -> Vec<Entry> {
    let mut arms: Vec<&str> = Vec::new();
    for curve in curves {
        if !arms.contains(&curve.arm.as_str()) {
            arms.push(&curve.arm);
        }
    }
    let arm = |name: &&str| Entry::new(&styles.get(name).label, styles.get(name).ink, Mark::Line);
    let kinds = Entry::new("strong: validation, faint: training batch", MUTED, Mark::Line);
    arms.iter().map(arm).chain([kinds]).collect()
}

/// What the picture shows: the last validation loss of every curve.
fn words(curves: &[&Curve], styles: &ArmStyles) -> String {
    let last = |curve: &&Curve| {
        let (_, loss) = validation(curve).last().copied()?;
        let loss = crate::units::fixed(Some(loss), 3);
        Some(format!("{} seed {} ends at {loss}", styles.get(&curve.arm).label, curve.seed))
    };
    curves.iter().filter_map(last).collect::<Vec<_>>().join(", ")
}

/// The picture's name.
fn title(phase: &str) -> String {
    if phase.is_empty() { "Loss during training".to_owned() } else { format!("Loss during {phase}") }
}

/// Tokens and training loss of the points that have one.
fn training(curve: &Curve) -> Vec<(f64, f64)> {
    thinned(curve.points.iter().filter_map(|p| Some((p.tokens as f64, sound(p.train_loss)?))).collect())
}

/// Tokens and validation loss of the points that have one.
fn validation(curve: &Curve) -> Vec<(f64, f64)> {
    thinned(curve.points.iter().filter_map(|p| Some((p.tokens as f64, sound(p.validation_loss)?))).collect())
}

fn sound(loss: Option<f64>) -> Option<f64> {
    loss.filter(|v| v.is_finite())
}

/// Every so many points, and always the last.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let every = points.len().div_ceil(MOST_POINTS).max(1);
    let last = points.last().copied().filter(|_| points.len() % every != 1 && every > 1);
    points.into_iter().step_by(every).chain(last).collect()
}

#[cfg(test)]
mod tests {
    use super::thinned;

    #[test]
    fn thinning_keeps_both_ends() {
        for count in [0, 1, 399, 400, 401, 1000, 1001] {
            let points: Vec<_> = (0..count).map(|i| (f64::from(i), 0.0)).collect();
            let kept = thinned(points.clone());
            assert!(kept.len() <= 401);
            assert_eq!((kept.first(), kept.last()), (points.first(), points.last()));
        }
    }
}
