//! Legends: what each colour, shape and line stands for, in rows above a panel or in a column beside it.

use super::figure::{Area, TEXT_SIZE, Text, shortened, width_of};
use super::marks::Shape;
use super::palette::{ArmStyle, Ink, TEXT};
use super::panel::Pen;
use crate::Error;

/// Height of a row of a legend, in units.
pub(crate) const ROW: i32 = 36;

/// Width of a mark and the gap after it.
const MARK: i32 = 46;

/// Longest label, in characters.
const LONGEST: usize = 44;

/// What stands before a label.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    /// A marker.
    Shape(Shape),
    /// A line.
    Line,
    /// A dashed line.
    Dashes,
}

/// One line of a legend.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    label: String,
    ink: Ink,
    mark: Mark,
}

impl Entry {
    /// An entry; long labels are cut.
    pub(crate) fn new(label: &str, ink: Ink, mark: Mark) -> Self {
        Self { label: shortened(label, LONGEST), ink, mark }
    }

    /// The entry of an arm, with its marker.
    pub(crate) fn arm(style: &ArmStyle) -> Self {
        Self::new(&style.label, style.ink, Mark::Shape(style.shape))
    }

    fn width(&self) -> i32 {
        MARK + width_of(&self.label, TEXT_SIZE) + 36
    }

    fn draw(&self, area: &Area<'_>, (x, y): (i32, i32)) -> Result<(), Error> {
        let line = vec![(x, y), (x + 34, y)];
        match self.mark {
            Mark::Shape(shape) => shape.draw(area, (x + 18, y), 10, self.ink)?,
            Mark::Line => Pen::new(self.ink, 5).path(area, line)?,
            Mark::Dashes => Pen::new(self.ink, 4).dashed().path(area, line)?,
        }
        Text::new(&self.label, TEXT).draw(area, (x + MARK, y))
    }
}

/// Entries laid out in rows from the top left of a figure.
pub(crate) struct Rows<'a>(Vec<(&'a Entry, (i32, i32))>);

impl<'a> Rows<'a> {
    /// Lays entries out below `top`, between 32 and `right`.
    pub(crate) fn new(entries: &'a [Entry], top: i32, right: i32) -> Self {
        let (mut x, mut y) = (32, top + ROW / 2);
        let mut placed = Vec::new();
        for entry in entries {
            if x > 32 && x + entry.width() > right {
                (x, y) = (32, y + ROW);
            }
            placed.push((entry, (x, y)));
            x += entry.width();
        }
        Self(placed)
    }

    /// The lower end of the last row.
    pub(crate) fn bottom(&self) -> i32 {
        self.0.last().map_or(0, |(_, (_, y))| y + ROW / 2)
    }

    /// Draws every entry.
    pub(crate) fn draw(&self, area: &Area<'_>) -> Result<(), Error> {
        self.0.iter().try_for_each(|(entry, at)| entry.draw(area, *at))
    }
}

/// Draws entries below each other from `(x, y)`.
pub(crate) fn column(area: &Area<'_>, entries: &[Entry], (x, mut y): (i32, i32)) -> Result<(), Error> {
    for entry in entries {
        entry.draw(area, (x, y))?;
        y += ROW;
    }
    Ok(())
}
