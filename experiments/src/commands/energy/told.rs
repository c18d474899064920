//! The words around a figure: where its power comes from, and how it was summed.

use serde::Serialize;

use crate::energy::{Conditions, Footprint, Metered};

/// Where the power of a figure comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub(super) enum Power {
    /// A meter showed it while the work ran.
    Measured {
        /// What was measured.
        meters: Vec<String>,
        /// Mean power of all meters together, W.
        watts: f64,
    },
    /// The user stated it; nothing was measured.
    Given {
        /// Of one device, W.
        watts: f64,
    },
}

impl Power {
    pub(super) fn given(watts: f64) -> Self {
        Self::Given { watts }
    }

    pub(super) fn measured(metered: &Metered) -> Self {
        Self::Measured { meters: metered.meters.clone(), watts: metered.watts() }
    }

    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Measured { meters, watts } => format!("power: {watts:.1} W, measured ({})", meters.join("; ")),
            Self::Given { watts } => format!("power: {watts:.1} W a device, given, NOT measured"),
        }
    }
}

/// The whole sum in one line.
pub(super) fn sum(footprint: &Footprint, conditions: &Conditions) -> String {
    let grid = conditions
        .kg_per_kwh
        .map_or_else(|| "; --intensity or --region adds what the grid emits".to_owned(), |kg| format!(", x {kg} kg/kWh"));
    let Footprint { device_hours, watts, .. } = footprint;
    format!("total: {} ({device_hours:.6} device hours x {watts:.1} W x PUE {}{grid})", footprint.sentence(), conditions.pue)
}
