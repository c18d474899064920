//! From hours and watts to kilowatt-hours and kilograms of CO2 equivalents.

use anyhow::{Result, bail};
use serde::Serialize;

/// Power usage effectiveness where none is given: what a data centre draws for each watt of its devices, as the report takes it.
pub const DEFAULT_PUE: f64 = 1.1;

/// What surrounds the devices.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Conditions {
    /// Power usage effectiveness, 1 or more.
    pub pue: f64,
    /// What the grid emits, kg of CO2 equivalents a kWh; none where it is not known.
    pub kg_per_kwh: Option<f64>,
}

/// What work cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Footprint {
    /// Hours, summed over devices.
    pub device_hours: f64,
    /// Mean power of one device, W.
    pub watts: f64,
    /// Energy with overhead, Wh.
    pub wh: f64,
    /// Emissions, kg of CO2 equivalents, where the grid's intensity is known.
    pub kg_co2: Option<f64>,
}

impl Conditions {
    /// Refuses conditions that mean nothing.
    pub fn check(&self) -> Result<()> {
        if !(self.pue.is_finite() && self.pue >= 1.0) {
            bail!("the PUE is {}, expected 1 or more: a building draws at least what its devices draw", self.pue);
        }
        match self.kg_per_kwh {
            Some(kg) if !(kg.is_finite() && kg >= 0.0) => bail!("the grid's intensity is {kg} kg/kWh, expected zero or more"),
            _ => Ok(()),
        }
    }
}

impl Footprint {
    /// Of `device_hours` hours, summed over devices, at a mean of `watts` W each.
    pub fn new(device_hours: f64, watts: f64, conditions: &Conditions) -> Result<Self> {
        conditions.check()?;
        for (name, value) in [("hours", device_hours), ("watts", watts)] {
            if !(value.is_finite() && value >= 0.0) {
                bail!("{name} are {value}, expected a number, zero or more");
            }
        }
        let wh = device_hours * watts * conditions.pue;
        Ok(Self { device_hours, watts, wh, kg_co2: conditions.kg_per_kwh.map(|kg| wh / 1e3 * kg) })
    }

    /// The part that `share` of the work cost.
    pub fn scaled(&self, share: f64) -> Self {
        let kg_co2 = self.kg_co2.map(|kg| kg * share);
        Self { device_hours: self.device_hours * share, wh: self.wh * share, kg_co2, ..*self }
    }

    /// Energy and emissions in units that fit.
    pub fn sentence(&self) -> String {
        let emitted = self
            .kg_co2
            .map_or_else(String::new, |kg| format!(", {}", scaled_unit(kg * 1e3, [("gCO2eq", 1.0), ("kgCO2eq", 1e3), ("tCO2eq", 1e6)])));
        format!("{}{emitted}", scaled_unit(self.wh, [("Wh", 1.0), ("kWh", 1e3), ("MWh", 1e6)]))
    }
}

/// A value in the largest unit of which it is one or more.
fn scaled_unit(value: f64, units: [(&str, f64); 3]) -> String {
    let fitting = units.iter().rev().find(|(_, size)| value >= *size).unwrap_or(&units[0]);
    format!("{:.4} {}", value / fitting.1, fitting.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: Conditions = Conditions { pue: DEFAULT_PUE, kg_per_kwh: Some(0.367) };

    /// The report's own figures: about 92,000 GPU hours, 296 W, 30 MWh, 11 tCO2eq.
    #[test]
    fn the_figures_of_the_report() {
        let found = Footprint::new(92_000.0, 296.0, &REPORT).unwrap();
        assert!((found.wh - 29_955_200.0).abs() < 1e-3, "{}", found.wh);
        assert_eq!((found.wh / 1e6).round(), 30.0);
        assert_eq!((found.kg_co2.unwrap() / 1e3).round(), 11.0);
        assert_eq!(found.sentence(), "29.9552 MWh, 10.9936 tCO2eq");
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let unknown = Conditions { kg_per_kwh: None, ..REPORT };
        assert_eq!(Footprint::new(1.0, 100.0, &unknown).unwrap().kg_co2, None);
        for (hours, watts) in [(-1.0, 1.0), (f64::NAN, 1.0), (1.0, f64::INFINITY), (1.0, -5.0)] {
            assert!(Footprint::new(hours, watts, &unknown).is_err());
        }
        for bad in
            [Conditions { pue: 0.9, ..REPORT }, Conditions { pue: f64::NAN, ..REPORT }, Conditions { kg_per_kwh: Some(-0.1), ..REPORT }]
        {
            assert!(Footprint::new(1.0, 1.0, &bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_thousandth_costs_a_thousandth() {
        let whole = Footprint::new(2.0, 300.0, &REPORT).unwrap();
        let part = whole.scaled(1e-3);
        assert!((part.wh - 0.66).abs() < 1e-12 && (part.kg_co2.unwrap() - 0.66e-3 * 0.367).abs() < 1e-12);
        assert_eq!(part.watts, 300.0);
    }
}
