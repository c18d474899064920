//! What a run takes of the machine: its most memory, and the share of the machine's matrix-product rate that it reaches.

use coppice_models::Config;
use coppice_models::doctor::{matmul, peak_resident_bytes};
use coppice_models::ext::training::gpu_memory;
use coppice_models::flops::{Account, Setting};
use tch::{Device, Kind};

use super::error::Result;
use super::recipe::TrainConfig;

/// What throughput is measured against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hardware {
    /// Where the model computes.
    device: Device,
    /// Floating-point operations of a token's forward and backward pass, without what is computed twice.
    pub flops_per_token: f64,
    /// Floating-point operations a second of a large matrix product, where it was measured.
    pub matmul_rate: Option<f64>,
}

impl Hardware {
    /// For a model of `config` trained as `train` says on `device`.
    ///
    /// # Errors
    /// When the configuration's sizes overflow.
    pub fn new(config: &Config, train: &TrainConfig, device: Device) -> Result<Self> {
        let setting = Setting { context: train.sequence_length as u64, ..Setting::default() };
        let flops_per_token = Account::new(config, setting)?.training_flops;
        Ok(Self { device, flops_per_token, matmul_rate: None })
    }

    /// The same after measuring the rate of matrix products in `kind`, which takes a second at most.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn measured(self, kind: Kind) -> Result<Self> {
        Ok(Self { matmul_rate: Some(matmul(kind, self.device)?), ..self })
    }

    /// The share of the matrix-product rate that `ranks` processes together reach with so many tokens a second ("MFU"), where the rate of
    /// one was measured.
    pub fn utilisation(&self, tokens_per_second: f64, ranks: usize) -> Option<f64> {
        self.matmul_rate.map(|rate| tokens_per_second * self.flops_per_token / (ranks as f64 * rate))
    }

    /// The most bytes this process ever held: tensors on a GPU, everything resident on a CPU. None where the system does not tell.
    pub fn peak_memory(&self) -> Option<u64> {
        match self.device {
            Device::Cuda(index) => gpu_memory(index).ok().map(|memory| memory.peak),
            _ => peak_resident_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utilisation_is_a_share_of_the_measured_rate() {
        let hardware = Hardware { device: Device::Cpu, flops_per_token: 6e6, matmul_rate: Some(1.2e9) };
        assert_eq!(hardware.utilisation(100.0, 1), Some(0.5));
        assert_eq!(hardware.utilisation(100.0, 2), Some(0.25));
        assert_eq!(Hardware { matmul_rate: None, ..hardware }.utilisation(100.0, 1), None);
    }
}
