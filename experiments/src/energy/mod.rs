//! Energy and carbon: hours of devices times their power, overhead of the building, and what the grid emits for it.
//!
//! The formula is the report's (Stable LM 2 1.6B Technical Report, arXiv 2402.17834; after MLCO2, arXiv 1910.09700): `Wh = device hours x
//! watts x PUE`, `kg = kWh x intensity`. Power is read from a meter where the machine has one (a GPU's through NVML, a processor's through
//! RAPL), else it is given, and every figure says which.

mod estimate;
mod hours;
mod meter;
mod nvml;
mod rapl;
mod region;
mod sampler;

pub use estimate::{Conditions, DEFAULT_PUE, Footprint};
pub use hours::{TrainingHours, of_run};
pub use meter::{Meter, all, of_device};
pub use region::intensity;
pub use sampler::{Metered, meter_while};
