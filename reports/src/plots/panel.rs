//! A panel: the part of a figure between two axes, with thin grid lines and labelled ticks.

use plotters::element::{DashedPathElement, PathElement};
use plotters::style::text_anchor::HPos;
use plotters::style::{Color, ShapeStyle};

use super::axis::Axis;
use super::figure::{Area, Text, drawn};
use super::palette::{GRID, Ink, MUTED, TEXT};
use crate::Error;

/// Where a panel lies in its figure, in units from the top left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Left edge.
    pub(crate) left: i32,
    /// Top edge.
    pub(crate) top: i32,
    /// Right edge.
    pub(crate) right: i32,
    /// Bottom edge.
    pub(crate) bottom: i32,
}

impl Frame {
    /// The frame of a figure's only panel, below `top`, with room for tick labels and axis titles.
    pub(crate) const fn inside(width: i32, height: i32, top: i32) -> Self {
        Self { left: 116, top: top + 72, right: width - 56, bottom: height - 92 }
    }

    /// The frame, moved to the right.
    pub(crate) const fn moved(self, by: i32) -> Self {
        Self { left: self.left + by, right: self.right + by, ..self }
    }
}

/// A panel ready to draw on.
pub(crate) struct Panel<'a, 'b> {
    /// The figure's area.
    pub(crate) area: &'a Area<'b>,
    frame: Frame,
    x: &'a Axis,
    y: &'a Axis,
}

impl<'a, 'b> Panel<'a, 'b> {
    /// Draws grid, ticks and titles, and returns the panel.
    pub(crate) fn open(area: &'a Area<'b>, frame: Frame, x: &'a Axis, y: &'a Axis) -> Result<Self, Error> {
        let panel = Self { area, frame, x, y };
        panel.rows()?;
        panel.columns()?;
        panel.titles()?;
        Ok(panel)
    }

    /// The pixel of a pair of values; `None` where an axis cannot place one of them.
    pub(crate) fn at(&self, x: f64, y: f64) -> Option<(i32, i32)> {
        Some((self.across(self.x.place(x)?), self.up(self.y.place(y)?)))
    }

    /// The panel's left and right edge.
    pub(crate) const fn sides(&self) -> (i32, i32) {
        (self.frame.left, self.frame.right)
    }

    /// Draws a line through the values that can be placed, `width` units wide.
    pub(crate) fn line(&self, points: impl IntoIterator<Item = (f64, f64)>, pen: Pen) -> Result<(), Error> {
        let path: Vec<_> = points.into_iter().filter_map(|(x, y)| self.at(x, y)).collect();
        pen.path(self.area, path)
    }

    fn across(&self, share: f64) -> i32 {
        self.frame.left + (share * f64::from(self.frame.right - self.frame.left)).round() as i32
    }

    fn up(&self, share: f64) -> i32 {
        self.frame.bottom - (share * f64::from(self.frame.bottom - self.frame.top)).round() as i32
    }

    /// Horizontal grid lines and the labels left of them.
    fn rows(&self) -> Result<(), Error> {
        for tick in &self.y.ticks {
            let y = self.up(self.y.share(tick.at));
            Pen::new(GRID, 2).path(self.area, vec![(self.frame.left, y), (self.frame.right, y)])?;
            Text::new(&tick.label, MUTED).anchored(HPos::Right).draw(self.area, (self.frame.left - 14, y))?;
        }
        Ok(())
    }

    /// Tick marks on the lower edge and the labels below them.
    fn columns(&self) -> Result<(), Error> {
        let Frame { left, right, bottom, .. } = self.frame;
        Pen::new(MUTED, 2).path(self.area, vec![(left, bottom), (right, bottom)])?;
        for tick in &self.x.ticks {
            let x = self.across(self.x.share(tick.at));
            Pen::new(MUTED, 2).path(self.area, vec![(x, bottom), (x, bottom + 8)])?;
            Text::new(&tick.label, MUTED).anchored(HPos::Center).draw(self.area, (x, bottom + 28))?;
        }
        Ok(())
    }

    /// The vertical axis's title above the panel, the horizontal one's below it.
    fn titles(&self) -> Result<(), Error> {
        let Frame { left, top, right, bottom } = self.frame;
        Text::new(&self.y.title, TEXT).draw(self.area, (left - 84, top - 34))?;
        let middle = (left + right) / 2;
        Text::new(&self.x.title, TEXT).anchored(HPos::Center).draw(self.area, (middle, bottom + 66))
    }
}

/// A pen: ink, width in units, opacity, dashed or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pen {
    ink: Ink,
    width: u32,
    opacity: f64,
    dashed: bool,
}

impl Pen {
    /// A solid pen.
    pub(crate) const fn new(ink: Ink, width: u32) -> Self {
        Self { ink, width, opacity: 1.0, dashed: false }
    }

    /// The pen, fainter.
    pub(crate) const fn faint(self, opacity: f64) -> Self {
        Self { opacity, ..self }
    }

    /// The pen, dashed.
    pub(crate) const fn dashed(self) -> Self {
        Self { dashed: true, ..self }
    }

    /// Draws a path of pixels; nothing for fewer than two.
    pub(crate) fn path(self, area: &Area<'_>, path: Vec<(i32, i32)>) -> Result<(), Error> {
        let style: ShapeStyle = self.ink.rgb().mix(self.opacity).stroke_width(self.width);
        match path.len() {
            0 | 1 => Ok(()),
            _ if self.dashed => drawn(area.draw(&DashedPathElement::new(path, DASH, DASH, style))),
            _ => drawn(area.draw(&PathElement::new(path, style))),
        }
    }
}

/// Length of a dash and of the gap after it, in units.
const DASH: i32 = 12;
