//! Energy and carbon: power over time, the data centre's overhead, the grid's emissions. `Wh = device-hours × watts × PUE`, as the StableLM 2
//! report states it (arXiv 2402.17834, section on the environment), and `kg CO2eq = kWh × kg/kWh`.

mod meter;
mod regions;

use anyhow::{Result, bail};
use serde::Serialize;

pub use meter::{Reading, open};
pub use regions::region;

/// Power usage effectiveness where none is given: the report's.
pub const PUE: f64 = 1.1;

/// Where a figure of power comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// A meter counted it; its name.
    Measured(String),
    /// Somebody said so.
    Given,
}

/// What was used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Account {
    /// Devices × hours.
    pub device_hours: f64,
    /// Mean power of one device, watts.
    pub watts: f64,
    /// Where it comes from.
    pub power: Power,
    /// Power usage effectiveness.
    pub pue: f64,
    /// Energy, Wh, overhead included.
    pub watt_hours: f64,
    /// The grid's emissions, kg CO2eq a kWh.
    pub intensity: Option<f64>,
    /// Emissions, kg CO2eq.
    pub kilograms: Option<f64>,
}

impl Account {
    /// Counts.
    ///
    /// # Errors
    /// A number that is negative or not finite, a PUE below 1.
    pub fn new(device_hours: f64, watts: f64, power: Power, pue: f64, intensity: Option<f64>) -> Result<Self> {
        for (name, value) in [("hours", device_hours), ("watts", watts), ("intensity", intensity.unwrap_or(0.0))] {
            if !(value.is_finite() && value >= 0.0) {
                bail!("{name} is {value}; expected a number from 0");
            }
        }
        if !(pue.is_finite() && pue >= 1.0) {
            bail!("the PUE is {pue}; expected a number from 1: a data centre uses at least what its machines use");
        }
        let watt_hours = device_hours * watts * pue;
        let kilograms = intensity.map(|intensity| watt_hours / 1000.0 * intensity);
        Ok(Self { device_hours, watts, power, pue, watt_hours, intensity, kilograms })
    }

    /// In words.
    pub fn sentences(&self) -> Vec<String> {
        let source = match &self.power {
            Power::Measured(meter) => format!("measured by {meter}"),
            Power::Given => "a given figure, not measured".to_owned(),
        };
        let used = format!(
            "{} of energy: {:.4} device-hours at {:.1} W ({source}), PUE {}",
            energy(self.watt_hours),
            self.device_hours,
            self.watts,
            self.pue
        );
        let emitted = self.kilograms.zip(self.intensity);
        let emitted = emitted.map(|(kilograms, intensity)| format!("{} CO2eq at {intensity} kg/kWh", mass(kilograms)));
        [used].into_iter().chain(emitted).collect()
    }
}

/// Energy in a unit that suits it.
pub fn energy(watt_hours: f64) -> String {
    match watt_hours {
        huge if huge >= 1e6 => format!("{:.2} MWh", huge / 1e6),
        large if large >= 1e3 => format!("{:.2} kWh", large / 1e3),
        small => format!("{small:.4} Wh"),
    }
}

fn mass(kilograms: f64) -> String {
    match kilograms {
        huge if huge >= 1e3 => format!("{:.2} t", huge / 1e3),
        large if large >= 1.0 => format!("{large:.2} kg"),
        small => format!("{:.4} g", small * 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_the_report_come_out() {
        let found = Account::new(92_000.0, 296.0, Power::Given, PUE, Some(0.367)).unwrap();
        assert!((found.watt_hours / 1e6 - 30.0).abs() < 0.05, "{found:?}");
        assert!((found.kilograms.unwrap() / 1e3 - 11.0).abs() < 0.05, "{found:?}");
        assert!(
            found.sentences()[0].starts_with("29.96 MWh of energy") && found.sentences()[0].contains("not measured"),
            "{:?}",
            found.sentences()
        );
    }

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        for (hours, watts, pue) in [(-1.0, 1.0, 1.1), (1.0, f64::NAN, 1.1), (1.0, 1.0, 0.9)] {
            assert!(Account::new(hours, watts, Power::Given, pue, None).is_err());
        }
    }
}
