//! Refuses to train what this machine cannot hold, before anything of that size is asked for: a failed allocation ends the process
//! without a sentence.

use anyhow::{Result, bail};
use coppice_models::Config;
use coppice_models::tensors::expected;
use coppice_upcycle::train::TrainConfig;
use coppice_upcycle::train::plan::{Memory, Plan};
use tch::Device;

/// Bytes of a drawn weight before it moves to its device.
const WEIGHT_BYTES: u64 = 4;

/// Refuses a model whose training state, or, on a GPU, whose largest tensor on its way there, exceeds the machine's memory.
///
/// # Errors
/// Names both figures.
pub fn refuse_too_large(config: &Config, train: &TrainConfig, device: Device) -> Result<()> {
    let Plan { parameters, memory, .. } = Plan::new(config, train, 1)?;
    let (needed, available) = (bytes_on_host(config, &memory, device), physical());
    if available.is_some_and(|available| needed > available) {
        let gb = |bytes: u64| bytes as f64 / 1e9;
        bail!(
            "{parameters} parameters need {:.1} GB of memory to train here, this machine has {:.1} GB",
            gb(needed),
            gb(available.unwrap_or_default())
        );
    }
    Ok(())
}

fn bytes_on_host(config: &Config, memory: &Memory, device: Device) -> u64 {
    if device == Device::Cpu {
        return (memory.weights + memory.gradients + memory.optimizer) as u64;
    }
    let largest = expected(config).iter().map(|tensor| tensor.numel() as u64).max().unwrap_or_default();
    largest.saturating_mul(WEIGHT_BYTES)
}

/// The machine's memory in bytes, where the system tells.
fn physical() -> Option<u64> {
    // SAFETY: sysconf only reads.
    let (pages, size) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    u64::try_from(pages).ok()?.checked_mul(u64::try_from(size).ok()?)
}
