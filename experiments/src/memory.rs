//! Refuses to train what this machine cannot hold, before anything of that size is asked for: a failed allocation ends the process
//! without a sentence.

use anyhow::{Result, bail};
use coppice_models::Config;
use coppice_models::flops::{Account, Setting};
use coppice_models::tensors::expected;
use tch::Device;

/// Bytes a parameter takes in f32 training: weight, gradient and AdamW's two moments.
const STATE_BYTES: u64 = 16;
/// Bytes of a drawn weight before it moves to its device.
const WEIGHT_BYTES: u64 = 4;

/// Refuses a model whose training state, or, on a GPU, whose largest tensor on its way there, exceeds the machine's memory.
///
/// # Errors
/// Names both figures.
pub fn refuse_too_large(config: &Config, device: Device) -> Result<()> {
    let parameters = Account::new(config, Setting::default())?.parameters;
    let (needed, available) = (bytes_on_host(config, parameters, device), physical());
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

fn bytes_on_host(config: &Config, parameters: u64, device: Device) -> u64 {
    if device == Device::Cpu {
        return parameters.saturating_mul(STATE_BYTES);
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
