//! Marker shapes, so that arms differ by more than colour.

use plotters::element::{Circle, Polygon};
use plotters::style::{Color, RGBColor, ShapeStyle};

use super::figure::{Area, drawn};
use super::palette::{Ink, SURFACE};
use crate::Error;

/// A marker's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A disc.
    Circle,
    /// A triangle on its base.
    Triangle,
    /// A square on its corner.
    Diamond,
    /// A square on its base.
    Square,
}

impl Shape {
    /// Shapes in turn for the upcycled arms.
    pub(crate) const fn nth(place: usize) -> Self {
        match place % 3 {
            0 => Self::Circle,
            1 => Self::Triangle,
            _ => Self::Diamond,
        }
    }

    /// Corners of a marker of the given radius; empty for the disc.
    fn corners(self, (x, y): (i32, i32), radius: i32) -> Vec<(i32, i32)> {
        let (r, wide) = (radius, radius * 5 / 4);
        let offsets: &[(i32, i32)] = match self {
            Self::Circle => &[],
            Self::Triangle => &[(0, -wide), (wide, r), (-wide, r)],
            Self::Diamond => &[(0, -wide), (wide, 0), (0, wide), (-wide, 0)],
            Self::Square => &[(-r, -r), (r, -r), (r, r), (-r, r)],
        };
        offsets.iter().map(|(dx, dy)| (x + dx, y + dy)).collect()
    }

    /// Draws a filled marker with a rim in the background's colour, so that neighbours stay apart.
    pub(crate) fn draw(self, area: &Area<'_>, at: (i32, i32), radius: i32, ink: Ink) -> Result<(), Error> {
        self.fill(area, at, radius + 3, SURFACE.rgb())?;
        self.fill(area, at, radius, ink.rgb())
    }

    fn fill(self, area: &Area<'_>, at: (i32, i32), radius: i32, color: RGBColor) -> Result<(), Error> {
        let style: ShapeStyle = color.filled();
        match self {
            Self::Circle => drawn(area.draw(&Circle::new(at, radius, style))),
            _ => drawn(area.draw(&Polygon::new(self.corners(at, radius), style))),
        }
    }
}
