//! What becomes of the experts over the course of training, one line a routed layer.

use super::axis::{Axis, Unit};
use super::figure::Figure;
use super::legend::{Entry, Mark, Rows};
use super::palette::{CATEGORIES, Ink, category};
use super::panel::{Frame, Panel, Pen};
use crate::Error;
use crate::data::{ExpertReport, ExpertTrend, TrendPoint, evenness};
use crate::units;

/// Size of the panel, in units.
const SIZE: (i32, i32) = (1120, 640);

/// How many layers the legend names where they have no colour each.
const NAMED: usize = 5;

/// Colours of the first, the middle and the last of many layers; they read on light and dark.
const DEPTH: [[u8; 3]; 3] = [[0x3C, 0x8F, 0xD9], [0x9A, 0x6F, 0xB0], [0xE0, 0x6A, 0x1F]];

/// What is followed over training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trend {
    /// Mean cosine between the weights of two experts.
    Similarity,
    /// Entropy of the load, as a share of ln N.
    LoadEntropy,
    /// Number of experts without a token.
    Dead,
    /// Load-balance loss, 1 where the load is even.
    Balance,
}

impl Trend {
    /// Every trend, in the order pages show them.
    pub const ALL: [Self; 4] = [Self::Similarity, Self::LoadEntropy, Self::Dead, Self::Balance];

    /// The vertical axis's title.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Similarity => "mean cosine between experts",
            Self::LoadEntropy => "load entropy / ln N",
            Self::Dead => "experts without a token",
            Self::Balance => "load-balance loss, 1 = even",
        }
    }

    /// What a picture of it would need.
    const fn needs(self) -> &'static str {
        match self {
            Self::Similarity => "the experts' similarity over training",
            Self::LoadEntropy => "the load's entropy over training",
            Self::Dead => "the number of dead experts over training",
            Self::Balance => "the load-balance loss over training",
        }
    }

    /// The point's value, where it is known and finite; `experts` is N.
    #[must_use]
    pub fn of(self, point: &TrendPoint, experts: usize) -> Option<f64> {
        let value = match self {
            Self::Similarity => point.similarity,
            Self::LoadEntropy => point.load_entropy.and_then(|nats| evenness(nats, experts)),
            Self::Dead => point.dead.map(|dead| dead as f64),
            Self::Balance => point.balance,
        };
        value.filter(|v| v.is_finite())
    }

    /// An axis around the values; whole numbers for dead experts.
    fn axis(self, values: impl Iterator<Item = f64>) -> Option<Axis> {
        match self {
            Self::Dead => {
                let most = values.fold(None, |most: Option<f64>, v| Some(most.map_or(v, |most| most.max(v))))?;
                Some(Axis::between(self.title(), Unit::Plain, 0.0, (most * 1.08).clamp(5.0, 1e9)))
            }
            Self::LoadEntropy => Axis::shares(self.title(), values),
            Self::Similarity | Self::Balance => Axis::linear(self.title(), Unit::Plain, values),
        }
    }
}

/// One trend of every layer.
///
/// # Errors
/// [`Error::NothingToDraw`] where no point has it.
pub fn trend_svg(report: &ExpertReport, trend: Trend) -> Result<String, Error> {
    let lines: Vec<Line> = report.over_training.iter().map(|layer| Line::of(layer, trend, report.experts)).collect();
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let y = trend.axis(points().map(|(_, value)| *value)).ok_or(Error::NothingToDraw { needs: trend.needs() })?;
    let last = points().map(|(step, _)| *step).fold(1.0, f64::max);
    let x = Axis::between("optimizer steps", if last < 10_000.0 { Unit::Plain } else { Unit::Si }, 0.0, last);
    let entries = entries(&lines);
    let rows = Rows::new(&entries, 12, SIZE.0 - 32);
    let height = SIZE.1 + rows.bottom();
    let title = format!("{} over training, {}, seed {}", trend.title(), report.shown(), report.seed);
    let figure = Figure { title, description: words(&lines), width: SIZE.0, height };
    figure.draw(|area| {
        rows.draw(area)?;
        let panel = Panel::open(area, Frame::inside(SIZE.0, height, rows.bottom()), &x, &y)?;
        (0..).zip(&lines).try_for_each(|(place, line)| line.draw(&panel, ink(place, lines.len())))
    })
}

/// One layer's line.
struct Line {
    layer: usize,
    points: Vec<(f64, f64)>,
}

impl Line {
    fn of(layer: &ExpertTrend, trend: Trend, experts: usize) -> Self {
        let value = |point: &TrendPoint| Some((point.step as f64, trend.of(point, experts)?));
        Self { layer: layer.layer, points: layer.points.iter().filter_map(value).collect() }
    }

    fn draw(&self, panel: &Panel<'_, '_>, ink: Ink) -> Result<(), Error> {
        panel.line(self.points.iter().copied(), Pen::new(ink, 4).faint(0.85))?;
        let last = self.points.last().and_then(|(x, y)| panel.at(*x, *y));
        last.map_or(Ok(()), |at| super::marks::Shape::Circle.draw(panel.area, at, 5, ink))
    }
}

/// The colour of a layer: a category each where they are few, from blue to orange with depth where they are many.
fn ink(place: usize, layers: usize) -> Ink {
    if layers <= CATEGORIES.len() {
        return category(place);
    }
    let at = 2.0 * place as f64 / (layers - 1) as f64;
    let ([from, to], share) = if at < 1.0 { ([DEPTH[0], DEPTH[1]], at) } else { ([DEPTH[1], DEPTH[2]], at - 1.0) };
    let mix = |i: usize| (f64::from(from[i]) + share * (f64::from(to[i]) - f64::from(from[i]))).round() as u32;
    Ink::fixed(mix(0) << 16 | mix(1) << 8 | mix(2))
}

/// An entry per layer, or for some of many, the first and the last among them.
fn entries(lines: &[Line]) -> Vec<Entry> {
    let count = if lines.len() > CATEGORIES.len() { NAMED } else { lines.len() };
    let places = (0..count).map(|i| if count > 1 { i * (lines.len() - 1) / (count - 1) } else { 0 });
    let entry = |place: usize| Some(Entry::new(&format!("layer {}", lines.get(place)?.layer), ink(place, lines.len()), Mark::Line));
    places.filter_map(entry).collect()
}

/// Where every line ends, in words.
fn words(lines: &[Line]) -> String {
    let end = |line: &Line| line.points.last().map(|(_, value)| format!("layer {} ends at {}", line.layer, units::fixed(Some(*value), 3)));
    lines.iter().filter_map(end).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_a_share_of_its_maximum_and_missing_stays_missing() {
        let point = TrendPoint { load_entropy: Some(4_f64.ln()), dead: Some(0), ..TrendPoint::default() };
        let share = Trend::LoadEntropy.of(&point, 16).unwrap();
        assert!((share - 0.5).abs() < 1e-12, "{share}");
        assert_eq!(Trend::LoadEntropy.of(&point, 1), None);
        assert_eq!(Trend::Dead.of(&point, 16), Some(0.0));
        assert_eq!(Trend::Similarity.of(&point, 16), None);
    }

    #[test]
    fn many_layers_go_from_blue_to_orange() {
        assert_eq!(ink(0, 24), Ink::fixed(0x3C_8F_D9));
        assert_eq!(ink(23, 24), Ink::fixed(0xE0_6A_1F));
        assert_eq!(ink(1, 4), category(1));
    }
}
