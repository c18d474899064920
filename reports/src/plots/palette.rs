//! Colours, and which arm or score wears which.
//!
//! The categorical colours are those of Okabe and Ito (Color Universal Design, 2008), which people with any
//! common colour vision can tell apart; shapes repeat what colours say. Each fixed colour has a partner for dark
//! backgrounds, swapped in by the style sheet every figure carries.

use std::collections::BTreeMap;

use plotters::style::RGBColor;

use super::marks::Shape;
use crate::data::{Report, Role};

/// A colour of the house and its partner on dark backgrounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ink {
    light: u32,
    dark: u32,
}

/// Text and axes.
pub(crate) const TEXT: Ink = Ink { light: 0x1F_23_28, dark: 0xE6_ED_F3 };
/// Secondary text, the dense control.
pub(crate) const MUTED: Ink = Ink { light: 0x59_63_6E, dark: 0x9D_A7_B3 };
/// Grid lines.
pub(crate) const GRID: Ink = Ink { light: 0xE1_E5_EA, dark: 0x2A_31_3A };
/// The background.
pub(crate) const SURFACE: Ink = Ink { light: 0xFF_FF_FE, dark: 0x11_16_1D };
/// What is told apart by colour: upcycled arms, scores.
pub(crate) const CATEGORIES: [Ink; 6] = [
    Ink { light: 0x00_72_B2, dark: 0x4D_A9_E5 },
    Ink { light: 0xD5_5E_00, dark: 0xF2_8A_3C },
    Ink { light: 0x00_9E_73, dark: 0x2F_C8_9A },
    Ink { light: 0xB0_56_86, dark: 0xDF_93_BC },
    Ink { light: 0xC9_8B_00, dark: 0xEB_B9_36 },
    Ink { light: 0x3C_A3_DB, dark: 0x8F_D0_F5 },
];

/// Text on deep blue and on deep orange, whatever the background of the figure.
pub(crate) const ON_BLUE: Ink = Ink { light: 0xFF_FF_FD, dark: 0x0A_0D_12 };
/// See [`ON_BLUE`].
pub(crate) const ON_ORANGE: Ink = Ink::fixed(0x11_11_11);

impl Ink {
    /// A colour that is the same on every background.
    pub(crate) const fn fixed(color: u32) -> Self {
        Self { light: color, dark: color }
    }

    /// The colour as SVG writes it, by its light form; the dark rules know it by this.
    pub(crate) fn code(self) -> String {
        format!("#{:06X}", self.light)
    }

    /// The colour as plotters wants it, by its light form.
    pub(crate) const fn rgb(self) -> RGBColor {
        let [_, r, g, b] = self.light.to_be_bytes();
        RGBColor(r, g, b)
    }
}

/// How an arm is drawn.
#[derive(Clone, Debug)]
pub(crate) struct ArmStyle {
    /// The label shown.
    pub(crate) label: String,
    /// Its colour.
    pub(crate) ink: Ink,
    /// Its marker.
    pub(crate) shape: Shape,
}

/// The style of every arm a report mentions: the same in every figure.
pub(crate) struct ArmStyles(BTreeMap<String, ArmStyle>);

impl ArmStyles {
    /// Dense models are grey squares and diamonds; upcycled ones (and arms not listed) take the categories in turn, and so do
    /// those from scratch, as squares.
    pub(crate) fn of(report: &Report) -> Self {
        let mut styles = Self(BTreeMap::new());
        for arm in &report.arms {
            styles.add(&arm.name, arm.shown(), arm.role);
        }
        for name in mentioned(report) {
            styles.add(name, name, Role::Upcycled);
        }
        styles
    }

    /// The arm's style; a plain one for a name the report never mentions.
    pub(crate) fn get(&self, arm: &str) -> ArmStyle {
        let unknown = || ArmStyle { label: arm.to_owned(), ink: MUTED, shape: Shape::Circle };
        self.0.get(arm).cloned().unwrap_or_else(unknown)
    }

    fn add(&mut self, name: &str, label: &str, role: Role) {
        let place = self.0.values().filter(|style| CATEGORIES.contains(&style.ink)).count();
        let (ink, shape) = match role {
            Role::Base => (MUTED, Shape::Diamond),
            Role::Control => (TEXT, Shape::Square),
            Role::Upcycled => (category(place), Shape::nth(place)),
            Role::FromScratch => (category(place), Shape::Square),
        };
        self.0.entry(name.to_owned()).or_insert_with(|| ArmStyle { label: label.to_owned(), ink, shape });
    }
}

/// The `place`-th category, starting over after the last.
pub(crate) const fn category(place: usize) -> Ink {
    CATEGORIES[place % CATEGORIES.len()]
}

/// Arm names that stand anywhere outside the list of arms.
fn mentioned(report: &Report) -> impl Iterator<Item = &str> {
    let curves = report.curves.iter().map(|c| &c.arm);
    let loads = report.expert_load.iter().map(|l| &l.arm);
    let known = report.knowledge.iter().map(|k| &k.arm);
    curves.chain(loads).chain(known).map(String::as_str)
}

/// Rules that swap every fixed colour for its dark partner on dark screens, for figures of class `coppice`.
pub(crate) fn dark_rules() -> String {
    let inks = [TEXT, MUTED, GRID, SURFACE, ON_BLUE].into_iter().chain(CATEGORIES);
    let rule = |ink: Ink| {
        let (light, dark) = (ink.light, ink.dark);
        format!(".coppice [fill=\"#{light:06X}\"]{{fill:#{dark:06X}}}.coppice [stroke=\"#{light:06X}\"]{{stroke:#{dark:06X}}}")
    };
    let rules: String = inks.map(rule).collect();
    format!("@media screen and (prefers-color-scheme:dark){{{rules}}}")
}
