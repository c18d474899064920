//! A heat map of the share of assignments each expert takes, one row a layer.
//!
//! Colour stands for the ratio to a perfectly even load: blue below, white at, orange above; a cell says its percent
//! where there is room.

use plotters::element::Rectangle;
use plotters::style::text_anchor::HPos;
use plotters::style::{Color, RGBColor};

use super::figure::{Area, Figure, TEXT_SIZE, Text, drawn, width_of};
use super::palette::{ArmStyles, MUTED, TEXT};
use crate::Error;
use crate::data::{ExpertLoad, Report};
use crate::units;

/// Width of the figure and of the space for layer names, height of the heading and of a layer, in units.
const WIDTH: i32 = 1120;
const LEFT: i32 = 150;
const HEAD: i32 = 64;
const FOOT: i32 = 100;

/// Colours of an expert without load, at an even load, and at twice the even load or more.
const EMPTY: RGBColor = RGBColor(0x2B, 0x7B, 0xBA);
const EVEN: RGBColor = RGBColor(0xF7, 0xF7, 0xF5);
const DOUBLE: RGBColor = RGBColor(0xE0, 0x7B, 0x1F);

/// The expert load of one entry of a report.
///
/// # Errors
/// [`Error::NothingToDraw`] where it has no layer with a finite share.
pub fn expert_load_svg(report: &Report, load: &ExpertLoad) -> Result<String, Error> {
    let experts = load.layers.iter().map(Vec::len).max().unwrap_or(0);
    let finite = load.layers.iter().flatten().any(|share| share.is_finite());
    if experts == 0 || !finite {
        return Err(Error::NothingToDraw { needs: "a share of assignments per layer and expert" });
    }
    let grid = Grid { experts: experts as i32, layers: load.layers.len() as i32 };
    let label = ArmStyles::of(report).get(&load.arm).label;
    let title = format!("Expert load of {label}, seed {}", load.seed);
    let figure = Figure { title, description: words(load), width: WIDTH, height: grid.bottom() + FOOT };
    figure.draw(|area| {
        Text::new("share of assignments by expert", TEXT).draw(area, (LEFT, HEAD / 2))?;
        for (row, shares) in load.layers.iter().enumerate() {
            let index = load.layer_indices.get(row).copied().unwrap_or(row);
            grid.layer(area, row as i32, index, shares)?;
        }
        grid.scale(area)
    })
}

/// The heat map's cells.
struct Grid {
    experts: i32,
    layers: i32,
}

impl Grid {
    fn height(&self) -> i32 {
        (720 / self.layers).clamp(28, 56)
    }

    fn bottom(&self) -> i32 {
        HEAD + self.layers * self.height()
    }

    /// Left edge of an expert's column; columns share the width without gaps at the right.
    fn column(&self, expert: i32) -> i32 {
        LEFT + expert * (WIDTH - 32 - LEFT) / self.experts
    }

    /// One layer's name and cells.
    fn layer(&self, area: &Area<'_>, row: i32, index: usize, shares: &[f64]) -> Result<(), Error> {
        let top = HEAD + row * self.height();
        let middle = top + self.height() / 2;
        let name = format!("layer {index}");
        Text::new(&name, MUTED).anchored(HPos::Right).draw(area, (LEFT - 14, middle))?;
        for (expert, share) in (0..).zip(shares).filter(|(_, share)| share.is_finite()) {
            let corners = [(self.column(expert) + 1, top + 1), (self.column(expert + 1) - 1, top + self.height() - 1)];
            let ratio = share * shares.len() as f64;
            drawn(area.draw(&Rectangle::new(corners, color(ratio).filled())))?;
            self.number(area, *share, (corners[0].0 + corners[1].0) / 2, middle)?;
        }
        Ok(())
    }

    /// The share in percent, where a cell has room for it.
    fn number(&self, area: &Area<'_>, share: f64, x: i32, y: i32) -> Result<(), Error> {
        let text = units::fixed(Some(share * 100.0), 1);
        let room = self.column(1) - self.column(0) > width_of(&text, TEXT_SIZE) + 12 && self.height() >= 28;
        let black = super::palette::Ink::fixed(0x11_11_11);
        if room { Text::new(&text, black).anchored(HPos::Center).draw(area, (x, y)) } else { Ok(()) }
    }

    /// Expert numbers' heading and the colour scale below the cells.
    fn scale(&self, area: &Area<'_>) -> Result<(), Error> {
        let top = self.bottom() + 28;
        let steps = 60;
        for step in 0..steps {
            let x = LEFT + step * 8;
            let ratio = 2.0 * f64::from(step) / f64::from(steps - 1);
            drawn(area.draw(&Rectangle::new([(x, top), (x + 9, top + 18)], color(ratio).filled())))?;
        }
        let middle = LEFT + steps * 4;
        for (x, label) in [(LEFT, "0"), (middle, "even load"), (LEFT + steps * 8, "≥ 2 ×")] {
            Text::new(label, MUTED).anchored(HPos::Center).draw(area, (x, top + 42))?;
        }
        Text::new("numbers: percent", MUTED).anchored(HPos::Right).draw(area, (WIDTH - 32, top + 10))
    }
}

/// The colour of a load, by its ratio to an even one.
fn color(ratio: f64) -> RGBColor {
    let ratio = ratio.clamp(0.0, 2.0);
    let (from, to, share) = if ratio < 1.0 { (EMPTY, EVEN, ratio) } else { (EVEN, DOUBLE, ratio - 1.0) };
    let mix = |a: u8, b: u8| (f64::from(a) + share * (f64::from(b) - f64::from(a))).round() as u8;
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

/// The busiest and idlest expert, in words.
fn words(load: &ExpertLoad) -> String {
    let shares = || load.layers.iter().flatten().copied().filter(|share| share.is_finite());
    let (low, high) = (shares().fold(f64::INFINITY, f64::min), shares().fold(0.0, f64::max));
    let [low, high] = [low, high].map(|share| units::percent(Some(share)));
    format!("{} layers; the idlest expert takes {low}, the busiest {high}", load.layers.len())
}
