//! What a kilowatt-hour emits, by region.

use anyhow::{Result, anyhow};

/// A region's electricity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// Country code of ISO 3166, or `world`.
    pub code: &'static str,
    /// kg CO2eq a kWh generated.
    pub intensity: f64,
}

/// Carbon intensity of electricity generation in 2023, over its life cycle: Ember, Yearly Electricity Data, as Our World in Data gives it.
const REGIONS: [Region; 20] = [
    Region { code: "world", intensity: 0.481 },
    Region { code: "AT", intensity: 0.111 },
    Region { code: "AU", intensity: 0.549 },
    Region { code: "BE", intensity: 0.138 },
    Region { code: "BR", intensity: 0.098 },
    Region { code: "CA", intensity: 0.170 },
    Region { code: "CN", intensity: 0.582 },
    Region { code: "CZ", intensity: 0.450 },
    Region { code: "DE", intensity: 0.381 },
    Region { code: "DK", intensity: 0.152 },
    Region { code: "FI", intensity: 0.079 },
    Region { code: "FR", intensity: 0.056 },
    Region { code: "GR", intensity: 0.337 },
    Region { code: "HU", intensity: 0.204 },
    Region { code: "IE", intensity: 0.291 },
    Region { code: "IN", intensity: 0.713 },
    Region { code: "NO", intensity: 0.030 },
    Region { code: "PL", intensity: 0.662 },
    Region { code: "SE", intensity: 0.041 },
    Region { code: "US", intensity: 0.369 },
];

/// The region of a code, in any case.
///
/// # Errors
/// Names the regions there are.
pub fn region(code: &str) -> Result<Region> {
    let codes = || REGIONS.map(|region| region.code).join(", ");
    let found = REGIONS.into_iter().find(|region| region.code.eq_ignore_ascii_case(code));
    found.ok_or_else(|| anyhow!("no carbon intensity for region `{code}`; there are {}. Give --intensity KG_PER_KWH instead", codes()))
}
