//! A heat map: rows and columns of numbers as colours, with the numbers where there is room, and the scale below.
//!
//! The cells are a handful of SVG paths, one per shade, so that many maps of thousands of cells fit one page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use plotters::element::Rectangle;
use plotters::style::Color;
use plotters::style::text_anchor::HPos;

use super::figure::{Area, Figure, TEXT_SIZE, Text, drawn, shortened, width_of};
use super::grid::{Cell, Grid, STEPS};
use super::palette::{GRID, MUTED, TEXT};
use super::scale::{Numbers, Scale, Shade};
use crate::Error;

/// Height of the legend and of a line of remarks, in units.
const FOOT: i32 = 96;
const REMARK: i32 = 34;

/// Longest row and column label, in characters.
const LONGEST: (usize, usize) = (18, 12);

/// Text sizes tried for the numbers in the cells, largest first, in units.
const SIZES: [i32; 3] = [TEXT_SIZE, 23, 20];

/// A heat map. Numbers that are missing or not finite are hatched, never drawn as zero.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    /// The picture's name.
    pub title: String,
    /// What can be seen, in words, for a screen reader.
    pub description: String,
    /// Labels of the rows, from the top.
    pub rows: Vec<String>,
    /// Labels of the columns, from the left.
    pub columns: Vec<String>,
    /// What the columns are, and the rows where that needs saying.
    pub heading: String,
    /// The numbers, `[rows][columns]`; rows may be short.
    pub values: Vec<Vec<f64>>,
    /// What the colours say.
    pub scale: Scale,
    /// How the numbers are written.
    pub numbers: Numbers,
    /// What an exact zero means; such cells are crossed out where this is given.
    pub zero: Option<&'static str>,
    /// Width, in units of half a pixel.
    pub width: u32,
}

impl HeatMap {
    /// The map as the text of an SVG picture.
    ///
    /// # Errors
    /// [`Error::NothingToDraw`] where no number is finite or the scale is none, [`Error::Draw`] where drawing fails.
    pub fn svg(&self) -> Result<String, Error> {
        let any = self.cells().any(|(_, _, value)| value.is_some());
        if !any || !self.scale.is_sound() {
            return Err(Error::NothingToDraw { needs: "numbers for a heat map" });
        }
        let grid = self.grid();
        let (width, remarks) = (self.width as i32, self.remarks());
        let height = grid.bottom() + FOOT + REMARK * remarks.len() as i32;
        let figure = Figure { title: self.title.clone(), description: self.description.clone(), width, height };
        figure.draw_over(&(self.paths(&grid) + &self.bar(&grid)), |area| {
            self.labels(area, &grid)?;
            self.written(area, &grid)?;
            self.legend(area, &grid)?;
            let at = |line: i32| (grid.left, grid.bottom() + FOOT + REMARK * line);
            (0..).zip(&remarks).try_for_each(|(line, remark)| Text::new(remark, MUTED).draw(area, at(line)))
        })
    }

    /// Where the cells lie.
    fn grid(&self) -> Grid {
        let labels = self.rows.iter().map(|label| width_of(&shortened(label, LONGEST.0), TEXT_SIZE)).max();
        Grid::new(self.width as i32, labels.unwrap_or(0), self.rows.len(), self.columns.len())
    }

    /// Row, column and number of every cell.
    fn cells(&self) -> impl Iterator<Item = (usize, usize, Option<f64>)> + '_ {
        let value = |row: usize, column: usize| self.values.get(row).and_then(|values| values.get(column)).copied();
        let finite = move |row, column| value(row, column).filter(|v| v.is_finite());
        (0..self.rows.len()).flat_map(move |row| (0..self.columns.len()).map(move |column| (row, column, finite(row, column))))
    }

    /// What crosses, negative numbers and hatching look like, where there are any.
    fn remarks(&self) -> Vec<String> {
        let missing = self.cells().any(|(_, _, value)| value.is_none());
        let zero = self.zero.filter(|_| self.cells().any(|(_, _, value)| value == Some(0.0)));
        let crossed = zero.map(|meaning| format!("crossed out: {meaning}"));
        let sequential = matches!(self.scale, Scale::Sequential { .. });
        let negative = sequential && self.cells().any(|(_, _, value)| value.is_some_and(|v| v < 0.0));
        let negative = negative.then_some("without colour: zero or below");
        let rest = negative.into_iter().chain(missing.then_some("hatched: not measured"));
        crossed.into_iter().chain(rest.map(str::to_owned)).collect()
    }

    /// The cells, one path a shade; hatching and crosses on top.
    fn paths(&self, grid: &Grid) -> String {
        let (mut shades, mut missing, mut crosses) = (BTreeMap::<(String, String), String>::new(), String::new(), String::new());
        let on_zero = self.scale.shade(0.0).map_or(TEXT, Shade::text);
        for (row, column, value) in self.cells() {
            let cell = grid.cell(row, column);
            let Some((value, shade)) = value.and_then(|value| Some((value, self.scale.shade(value)?))) else {
                missing += &cell.hatched();
                continue;
            };
            *shades.entry((shade.ink().code(), format!("{:.3}", shade.opacity()))).or_default() += &cell.filled();
            crosses += &if value == 0.0 && self.zero.is_some() { cell.crossed() } else { String::new() };
        }
        let mut svg = String::new();
        for ((ink, opacity), path) in shades.iter().filter(|((_, opacity), _)| opacity != "0.000") {
            let _ = write!(svg, "<path fill=\"{ink}\" fill-opacity=\"{opacity}\" d=\"{path}\"/>");
        }
        for (path, ink, width) in [(missing, MUTED, 2), (crosses, on_zero, 4)].iter().filter(|(path, ..)| !path.is_empty()) {
            let _ = write!(svg, "<path fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\" d=\"{path}\"/>", ink.code());
        }
        svg
    }

    /// Heading, frame and the labels of rows and columns, every so many where they are close.
    fn labels(&self, area: &Area<'_>, grid: &Grid) -> Result<(), Error> {
        Text::new(&self.heading, TEXT).draw(area, (grid.left, 24))?;
        let frame = [(grid.left - 1, grid.top - 1), (grid.right + 1, grid.bottom() + 1)];
        drawn(area.draw(&Rectangle::new(frame, GRID.rgb().stroke_width(2))))?;
        for (row, label) in self.rows.iter().enumerate().step_by(every(30, grid.height)) {
            let y = grid.cell(row, 0).middle().1;
            Text::new(&shortened(label, LONGEST.0), MUTED).anchored(HPos::Right).draw(area, (grid.left - 12, y))?;
        }
        let labels: Vec<String> = self.columns.iter().map(|label| shortened(label, LONGEST.1)).collect();
        let widest = labels.iter().map(|label| width_of(label, TEXT_SIZE)).max().unwrap_or(0);
        let narrow = (grid.right - grid.left) / grid.columns;
        for (column, label) in labels.iter().enumerate().step_by(every(widest + 10, narrow)) {
            let x = grid.cell(0, column).middle().0;
            Text::new(label, MUTED).anchored(HPos::Center).draw(area, (x, grid.top - 24))?;
        }
        Ok(())
    }

    /// The numbers in the cells, where all of them fit.
    fn written(&self, area: &Area<'_>, grid: &Grid) -> Result<(), Error> {
        let texts = || self.cells().filter_map(|(row, column, value)| Some((row, column, value?, self.numbers.cell(value?))));
        let room = |size: &i32| {
            let (wide, high) = ((grid.right - grid.left) / grid.columns - 8, grid.height - 6);
            *size <= high && texts().all(|(_, _, _, text)| width_of(&text, *size) <= wide)
        };
        let Some(size) = SIZES.into_iter().find(room) else { return Ok(()) };
        for (row, column, value, text) in texts().filter(|(_, _, value, _)| *value != 0.0 || self.zero.is_none()) {
            let ink = self.scale.shade(value).map_or(TEXT, Shade::text);
            Text { size, ..Text::new(&text, ink).anchored(HPos::Center) }.draw(area, grid.cell(row, column).middle())?;
        }
        Ok(())
    }

    /// The colour scale.
    fn bar(&self, grid: &Grid) -> String {
        let (wide, mut svg) = (grid.bar() / STEPS, String::new());
        for step in 0..STEPS {
            let value = self.scale.value_at(f64::from(step) / f64::from(STEPS - 1));
            let Some(shade) = self.scale.shade(value) else { continue };
            let cell = Cell { x: grid.left + step * wide, y: grid.bottom() + 20, width: wide, height: 18 };
            let (ink, opacity, path) = (shade.ink().code(), shade.opacity(), cell.filled());
            let _ = write!(svg, "<path shape-rendering=\"crispEdges\" fill=\"{ink}\" fill-opacity=\"{opacity:.3}\" d=\"{path}\"/>");
        }
        svg
    }

    /// The frame and the marks of the colour scale.
    fn legend(&self, area: &Area<'_>, grid: &Grid) -> Result<(), Error> {
        let (top, end) = (grid.bottom() + 20, grid.left + grid.bar());
        drawn(area.draw(&Rectangle::new([(grid.left, top), (end, top + 18)], GRID.rgb().stroke_width(2))))?;
        for (share, label) in self.scale.marks(|value| self.numbers.whole(value)) {
            let x = grid.left + (share * f64::from(end - grid.left)).round() as i32;
            drawn(area.draw(&Rectangle::new([(x - 1, top), (x + 1, top + 23)], MUTED.rgb().filled())))?;
            Text::new(&label, MUTED).anchored(HPos::Center).draw(area, (x, top + 42))?;
        }
        Ok(())
    }
}

/// Every how many labels one is written, where each takes `needs` of room and gets `has`.
fn every(needs: i32, has: i32) -> usize {
    let steps = [1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100];
    let fits = |step: &&usize| **step as i32 * has.max(1) >= needs;
    steps.iter().find(fits).copied().unwrap_or(128)
}
