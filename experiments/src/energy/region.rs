//! What grids emit.

use anyhow::{Result, anyhow};

/// Name and kg of CO2 equivalents a kWh of electricity generated, over its life cycle, in 2023. Source: Ember, Yearly Electricity Data
/// and Global Electricity Review 2024, as published by Our World in Data ("Carbon intensity of electricity generation"). Grids change by
/// several per cent a year and by the hour: where a contract or a meter says more, give it with `--intensity`.
const REGIONS: [(&str, f64); 16] = [
    ("world", 0.481),
    ("australia", 0.549),
    ("austria", 0.111),
    ("belgium", 0.138),
    ("brazil", 0.098),
    ("canada", 0.170),
    ("china", 0.582),
    ("denmark", 0.152),
    ("finland", 0.079),
    ("france", 0.056),
    ("germany", 0.381),
    ("india", 0.713),
    ("ireland", 0.291),
    ("norway", 0.030),
    ("united-kingdom", 0.238),
    ("united-states", 0.369),
];

/// The intensity of a region's grid, kg of CO2 equivalents a kWh, in 2023.
pub fn intensity(region: &str) -> Result<f64> {
    let wanted = region.trim().to_lowercase().replace([' ', '_'], "-");
    let found = REGIONS.iter().find(|(name, _)| *name == wanted);
    found.map(|(_, kg)| *kg).ok_or_else(|| {
        let known: Vec<&str> = REGIONS.iter().map(|(name, _)| *name).collect();
        anyhow!("no region is named {region:?}; known are {}, and --intensity takes any grid's kg/kWh", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_found_however_they_are_written() {
        assert_eq!(intensity("France").unwrap(), 0.056);
        assert_eq!(intensity("United States").unwrap(), intensity("united_states").unwrap());
        assert!(intensity("atlantis").unwrap_err().to_string().contains("germany"));
    }

    #[test]
    fn names_are_distinct_and_values_in_kilograms() {
        let mut names: Vec<_> = REGIONS.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), REGIONS.len());
        assert!(REGIONS.iter().all(|(_, kg)| (0.0..1.5).contains(kg)));
    }
}
