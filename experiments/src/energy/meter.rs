//! Meters of this machine: NVIDIA's management library where a driver is installed, Linux's powercap counters (RAPL) where they may be read.

mod nvml;
mod rapl;

use std::fmt;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use self::nvml::Nvml;
use self::rapl::Rapl;

/// Where Linux shows its counters.
const POWERCAP: &str = "/sys/class/powercap";
/// NVIDIA's library.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// Something that counts energy as it is used.
trait Counter: fmt::Debug {
    /// Its name.
    fn name(&self) -> String;
    /// How many devices it counts.
    fn devices(&self) -> usize;
    /// Joules since some moment, each device's.
    ///
    /// # Errors
    /// When it cannot be read.
    fn joules(&self) -> Result<Vec<f64>>;
    /// Where each device's count begins again, joules; infinite where it does not.
    fn wraps(&self) -> Vec<f64>;
}

/// A meter, and when it was started.
#[derive(Debug)]
pub struct Meter {
    counter: Box<dyn Counter>,
    start: (Instant, Vec<f64>),
}

/// What was used since the meter was started.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Which meter.
    pub meter: String,
    /// Devices it counts.
    pub devices: usize,
    /// Seconds.
    pub seconds: f64,
    /// Joules of all devices.
    pub joules: f64,
}

/// The first meter of this machine that works, started; none where there is none.
pub fn open() -> Option<Meter> {
    let nvml = Nvml::open(Path::new(LIBRARY)).ok().map(|nvml| Box::new(nvml) as Box<dyn Counter>);
    nvml.or_else(|| Rapl::open(Path::new(POWERCAP)).map(|rapl| Box::new(rapl) as Box<dyn Counter>))
        .and_then(|counter| Meter::start(counter).ok())
}

impl Meter {
    fn start(counter: Box<dyn Counter>) -> Result<Self> {
        let joules = counter.joules()?;
        Ok(Self { counter, start: (Instant::now(), joules) })
    }

    /// What was used since. A counter that has begun again is taken to have done so once.
    ///
    /// # Errors
    /// When it cannot be read any more.
    pub fn read(&self) -> Result<Reading> {
        let (start, before) = &self.start;
        let used = before.iter().zip(self.counter.joules()?).zip(self.counter.wraps());
        let joules = used.map(|((before, now), wrap)| if now >= *before { now - before } else { now + wrap - before }).sum();
        Ok(Reading { meter: self.counter.name(), devices: self.counter.devices(), seconds: start.elapsed().as_secs_f64(), joules })
    }
}
