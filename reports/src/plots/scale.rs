//! What the colours of a heat map say: how a number becomes an ink and a depth of it.
//!
//! Depth is opacity over the background, so that a scale begins at the page's own colour on light and on dark pages.

use super::palette::{Ink, ON_BLUE, ON_ORANGE, TEXT, category};
use crate::units;

/// Depths an ink is drawn in, besides not at all.
const DEPTHS: u8 = 40;

/// A colour scale for numbers from 0 on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Blue, deeper with the number: none at 0, full from `top` on.
    Sequential {
        /// The number from which on the colour is full.
        top: f64,
        /// A number to mark on the scale, such as the share every cell would have if all were alike.
        even: Option<f64>,
    },
    /// No colour at `even`; blue below it, full at 0; orange above it, full at `top`.
    Diverging {
        /// The number without colour, such as the share of an even load.
        even: f64,
        /// The number from which on the orange is full.
        top: f64,
    },
}

/// An ink and its depth, 0 to [`DEPTHS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shade {
    /// Whether the orange ink is meant, not the blue one.
    pub(crate) warm: bool,
    depth: u8,
}

impl Scale {
    /// The shade of a number; `None` where it is not finite.
    pub(crate) fn shade(&self, value: f64) -> Option<Shade> {
        let at = match *self {
            Self::Sequential { top, .. } => -value / top,
            Self::Diverging { even, .. } if value < even => value / even - 1.0,
            Self::Diverging { even, top } => (value - even) / (top - even),
        };
        let depth = (at.abs().min(1.0) * f64::from(DEPTHS)).round() as u8;
        let below = matches!(self, Self::Sequential { .. }) && value < 0.0;
        (value.is_finite() && at.is_finite()).then_some(Shade { warm: at > 0.0 && !below, depth: if below { 0 } else { depth } })
    }

    /// The number that stands at a share of the scale's length.
    pub(crate) fn value_at(&self, share: f64) -> f64 {
        match *self {
            Self::Sequential { top, .. } => share * top,
            Self::Diverging { even, .. } if share < 0.5 => share * 2.0 * even,
            Self::Diverging { even, top } => even + (share * 2.0 - 1.0) * (top - even),
        }
    }

    /// Labels below the scale, each with its place as a share of the scale's length.
    pub(crate) fn marks(&self, text: impl Fn(f64) -> String) -> Vec<(f64, String)> {
        let end = |top: f64| if top < 1.0 { format!("≥ {}", text(top)) } else { text(top) };
        match *self {
            Self::Sequential { top, even } => {
                let inside = even.filter(|even| *even > 0.0 && *even < top);
                let even = inside.map(|even| (even / top, format!("even {}", text(even))));
                [(0.0, "0".to_owned()), (1.0, end(top))].into_iter().chain(even).collect()
            }
            Self::Diverging { even, top } => [(0.0, "0".to_owned()), (0.5, format!("even {}", text(even))), (1.0, end(top))].into(),
        }
    }

    /// Whether the scale is one that numbers can be placed on.
    pub(crate) fn is_sound(&self) -> bool {
        match *self {
            Self::Sequential { top, .. } => top.is_finite() && top > 0.0,
            Self::Diverging { even, top } => even > 0.0 && top.is_finite() && top > even,
        }
    }

    /// The scale around the share each of `experts` would have of `chosen` evenly spread ones; it ends at twice that share, or at 1.
    pub(crate) fn around_even(chosen: usize, experts: usize) -> Self {
        let even = chosen.max(1) as f64 / experts.max(1) as f64;
        if even >= 1.0 { Self::Sequential { top: 1.0, even: None } } else { Self::Diverging { even, top: (2.0 * even).min(1.0) } }
    }
}

impl Shade {
    /// The ink of the shade.
    pub(crate) const fn ink(self) -> Ink {
        category(self.warm as usize)
    }

    /// Its opacity, 0 to 1.
    pub(crate) fn opacity(self) -> f64 {
        f64::from(self.depth) / f64::from(DEPTHS)
    }

    /// The ink for text on it.
    pub(crate) fn text(self) -> Ink {
        match (self.warm, self.opacity()) {
            (true, depth) if depth > 0.7 => ON_ORANGE,
            (false, depth) if depth > 0.7 => ON_BLUE,
            _ => TEXT,
        }
    }
}

/// How the numbers of a heat map are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Shares, as percent.
    Percent,
    /// Two digits after the point.
    Plain,
}

impl Numbers {
    /// The number in a cell, without its unit.
    pub(crate) fn cell(self, value: f64) -> String {
        match self {
            Self::Percent => units::fixed(Some(value * 100.0), 1),
            Self::Plain => units::fixed(Some(value), 2),
        }
    }

    /// The number with its unit.
    pub(crate) fn whole(self, value: f64) -> String {
        match self {
            Self::Percent => units::percent(Some(value)).replace(".0", ""),
            Self::Plain => units::fixed(Some(value), 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(scale: Scale, value: f64) -> f64 {
        scale.shade(value).map_or(f64::NAN, |shade| if shade.warm { shade.opacity() } else { -shade.opacity() })
    }

    #[test]
    fn an_even_load_has_no_colour_and_both_sides_deepen_alike() {
        let scale = Scale::around_even(1, 8);
        assert_eq!(scale, Scale::Diverging { even: 0.125, top: 0.25 });
        let cases = [(0.0, -1.0), (0.0625, -0.5), (0.125, 0.0), (0.1875, 0.5), (0.25, 1.0), (0.9, 1.0)];
        for (value, expected) in cases {
            assert_eq!(signed(scale, value).abs(), f64::abs(expected), "{value}");
            assert!(signed(scale, value) * expected >= 0.0, "{value}");
        }
    }

    #[test]
    fn a_sequential_scale_deepens_from_nothing() {
        let scale = Scale::Sequential { top: 0.5, even: None };
        for (value, expected) in [(0.0, 0.0), (0.125, -0.25), (0.5, -1.0), (2.0, -1.0), (-0.3, 0.0)] {
            assert_eq!(signed(scale, value), expected, "{value}");
        }
        assert_eq!(scale.shade(f64::NAN), None);
        assert_eq!(scale.shade(f64::INFINITY), None);
    }

    #[test]
    fn the_even_share_stands_where_it_is() {
        let text = |v| Numbers::Percent.whole(v).replace(units::GAP, " ");
        let marks = Scale::around_even(2, 8).marks(text);
        assert_eq!(marks, [(0.0, "0".into()), (0.5, "even 25 %".into()), (1.0, "≥ 50 %".into())]);
        let marks = Scale::Sequential { top: 1.0, even: Some(0.25) }.marks(text);
        assert_eq!(marks, [(0.0, "0".into()), (1.0, "100 %".into()), (0.25, "even 25 %".into())]);
        assert_eq!(Scale::around_even(4, 4), Scale::Sequential { top: 1.0, even: None });
        for scale in [Scale::around_even(2, 8), Scale::around_even(6, 8), Scale::Sequential { top: 0.2, even: None }] {
            assert!(scale.is_sound());
            assert_eq!(scale.shade(scale.value_at(0.0)).map(Shade::opacity), Some(if scale.value_at(0.5) == 0.1 { 0.0 } else { 1.0 }));
        }
    }
}
