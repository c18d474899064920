//! Meters of power, and which of them a device has.

use std::path::PathBuf;

use super::nvml::Nvml;
use super::rapl::Rapl;

/// What a meter shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// Energy since some moment, J; it only grows.
    Joules(f64),
    /// Power now, W.
    Watts(f64),
}

/// Something that shows energy or power.
pub trait Meter: Send {
    /// What it measures, for who reads the figure.
    fn name(&self) -> String;

    /// What it shows now.
    fn read(&mut self) -> Result<Reading, MeterError>;
}

/// Why a meter shows nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MeterError {
    /// NVIDIA's library is not on this machine, or knows no such GPU.
    #[error("NVML: {0}")]
    Nvml(String),
    /// The processor's counters are absent or not readable.
    #[error("RAPL: {0}")]
    Rapl(String),
}

/// Where the processor's counters are; `COPPICE_POWERCAP` names another folder, as where a container has the host's `/sys` elsewhere.
fn powercap() -> PathBuf {
    std::env::var_os("COPPICE_POWERCAP").map_or_else(|| "/sys/class/powercap".into(), PathBuf::from)
}

/// The meters of a device that work is about to run on: its GPU's, or those of all processors.
pub fn of_device(device: tch::Device) -> Result<Vec<Box<dyn Meter>>, MeterError> {
    match device {
        tch::Device::Cuda(index) => Ok(vec![Box::new(Nvml::open(visible(index))?)]),
        _ => Ok(boxed(Rapl::open(&powercap())?)),
    }
}

/// Every meter of the machine, and why there are not more.
pub fn all() -> (Vec<Box<dyn Meter>>, Vec<MeterError>) {
    let gpus = Nvml::all().map(boxed);
    let processors = Rapl::open(&powercap()).map(boxed);
    let (mut meters, mut reasons) = (Vec::new(), Vec::new());
    for found in [gpus, processors] {
        match found {
            Ok(found) => meters.extend(found),
            Err(reason) => reasons.push(reason),
        }
    }
    (meters, reasons)
}

fn boxed<M: Meter + 'static>(meters: Vec<M>) -> Vec<Box<dyn Meter>> {
    meters.into_iter().map(|meter| Box::new(meter) as Box<dyn Meter>).collect()
}

/// NVML's number of the process's GPU `index`: `CUDA_VISIBLE_DEVICES` renumbers them for CUDA alone.
fn visible(index: usize) -> u32 {
    let listed = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
    renumbered(&listed, index)
}

fn renumbered(listed: &str, index: usize) -> u32 {
    let named = listed.split(',').nth(index).and_then(|name| name.trim().parse().ok());
    named.unwrap_or_else(|| u32::try_from(index).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_devices_renumber_gpus() {
        assert_eq!([renumbered("", 1), renumbered("3,5", 1), renumbered("3,5", 0), renumbered("GPU-abc", 0)], [1, 5, 3, 0]);
    }
}
