//! A figure: an SVG text with a name for those who cannot see it and colours that follow the reader's theme.
//!
//! Figures are drawn on a grid of half pixels: a figure 1120 units wide is shown 560 pixels wide, which keeps the
//! back-end's whole-numbered coordinates smooth.

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontDesc, FontFamily, FontStyle};

use super::palette::{Ink, SURFACE, dark_rules};
use crate::Error;

/// What figures are drawn on.
pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Units per shown pixel.
const UNITS: u32 = 2;

/// The size of ordinary text, in units.
pub(crate) const TEXT_SIZE: i32 = 26;

/// How plotters' SVG back-end shrinks font sizes.
const FONT_SHRINK: f64 = 1.24;

/// A figure's outside: its name, its description for a screen reader, its size in units.
pub(crate) struct Figure {
    /// The name, shown by browsers as a hint.
    pub(crate) title: String,
    /// What can be seen, in words.
    pub(crate) description: String,
    /// Width in units.
    pub(crate) width: i32,
    /// Height in units.
    pub(crate) height: i32,
}

impl Figure {
    /// Runs `paint` on an empty area and returns the whole SVG.
    pub(crate) fn draw(&self, paint: impl FnOnce(&Area<'_>) -> Result<(), Error>) -> Result<String, Error> {
        self.draw_over("", paint)
    }

    /// The same over `under`, SVG elements of our own making that lie on the background.
    pub(crate) fn draw_over(&self, under: &str, paint: impl FnOnce(&Area<'_>) -> Result<(), Error>) -> Result<String, Error> {
        let mut svg = String::new();
        {
            let size = (self.width.unsigned_abs(), self.height.unsigned_abs());
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            let painted = drawn(area.fill(&SURFACE.rgb()));
            painted.and_then(|()| paint(&area)).map_err(|error| self.named(error))?;
            drawn(area.present()).map_err(|error| self.named(error))?;
        }
        Ok(self.dress(&svg, under))
    }

    /// Replaces the back-end's opening tag by one with name, description and style, and puts `under` after its first element, the background.
    fn dress(&self, svg: &str, under: &str) -> String {
        let body = svg.split_once('>').map_or("", |(_, body)| body);
        let (background, body) = body.split_once("/>").unwrap_or(("", body));
        let (width, height) = (self.width.unsigned_abs(), self.height.unsigned_abs());
        let (title, description) = (escape(&self.title), escape(&self.description));
        format!(
            "<svg class=\"coppice\" role=\"img\" aria-label=\"{title}. {description}\" width=\"{}\" height=\"{}\" \
             viewBox=\"0 0 {width} {height}\" xmlns=\"http://www.w3.org/2000/svg\">\n<title>{title}</title>\n\
             <desc>{description}</desc>\n<style>.coppice text{{font-family:system-ui,-apple-system,\"Segoe UI\",\
             Roboto,\"Helvetica Neue\",Arial,sans-serif}}{}</style>{background}/>{under}{body}",
            width / UNITS,
            height / UNITS,
            dark_rules(),
        )
    }

    /// Puts the figure's name into a drawing error.
    fn named(&self, error: Error) -> Error {
        match error {
            Error::Draw { reason, .. } => Error::Draw { figure: self.title.clone(), reason },
            other => other,
        }
    }
}

/// Turns the back-end's error into ours; [`Figure::draw`] adds the figure's name.
pub(crate) fn drawn<T, E>(result: Result<T, DrawingAreaErrorKind<E>>) -> Result<T, Error>
where
    E: std::error::Error + Send + Sync,
{
    result.map_err(|error| Error::Draw { figure: String::new(), reason: error.to_string() })
}

/// A piece of text: what, how large, in which ink, which of its sides stands at the given place.
pub(crate) struct Text<'a> {
    /// The characters; the back-end escapes them.
    pub(crate) text: &'a str,
    /// Size in units.
    pub(crate) size: i32,
    /// Colour.
    pub(crate) ink: Ink,
    /// The side that stands at the place.
    pub(crate) side: HPos,
    /// Whether it is bold.
    pub(crate) bold: bool,
}

impl<'a> Text<'a> {
    /// Ordinary text whose left end stands at the place.
    pub(crate) const fn new(text: &'a str, ink: Ink) -> Self {
        Self { text, size: TEXT_SIZE, ink, side: HPos::Left, bold: false }
    }

    /// The same text, anchored at another side.
    pub(crate) const fn anchored(self, side: HPos) -> Self {
        Self { side, ..self }
    }

    /// Draws the text, vertically centred at `at`.
    pub(crate) fn draw(&self, area: &Area<'_>, at: (i32, i32)) -> Result<(), Error> {
        let style = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = FontDesc::new(FontFamily::SansSerif, f64::from(self.size) * FONT_SHRINK, style);
        let color = self.ink.rgb();
        let text = font.color(&color).pos(Pos::new(self.side, VPos::Center));
        drawn(area.draw_text(&printable(self.text), &text, at))
    }
}

/// The text without control characters, which XML forbids.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The width that `text` takes at most, in units; an estimate, as SVG viewers choose the font.
pub(crate) fn width_of(text: &str, size: i32) -> i32 {
    let characters = i32::try_from(text.chars().count()).unwrap_or(i32::MAX / 64);
    characters.min(i32::MAX / 64) * size * 56 / 100
}

/// The text cut to at most `limit` characters, with an ellipsis where something was lost.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

/// Escapes text for XML content and attributes.
fn escape(text: &str) -> String {
    let plain = printable(text);
    plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
