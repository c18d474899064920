//! Where a model computes and in which type: `--device auto|cpu|cuda:N` and `--dtype f32|bf16`.
//!
//! No binary links CUDA. When a GPU is wanted, `libtorch_cuda.so` is loaded from the folder `libtorch_cpu.so` came from, so one
//! binary runs on machines with and without a GPU. libtorch remembers the first answer to "is there CUDA?" for the rest of the
//! process, and even seeding its generator asks: call [`DeviceChoice::open`] before anything else of libtorch.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::{Device, Kind};

use crate::ext;

/// The device files whose presence says that an NVIDIA driver is running: on Linux, and on Windows' Linux subsystem.
const NVIDIA_NODES: [&str; 2] = ["/dev/nvidiactl", "/dev/dxg"];

/// Why a device or a type cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeviceError {
    /// The name is not one of a device.
    #[error("unknown device {0:?}: expected auto, cpu, cuda or cuda:N")]
    UnknownDevice(String),
    /// The name is not one of a type.
    #[error("unknown dtype {0:?}: expected f32 (float32, fp32) or bf16 (bfloat16)")]
    UnknownDtype(String),
    /// There is no NVIDIA driver.
    #[error("{0} was asked for, but this machine has no NVIDIA device (no /dev/nvidiactl); use --device cpu")]
    NoGpu(DeviceChoice),
    /// libtorch's CUDA library is not there or lacks another library.
    #[error("{device} was asked for, but {reason}; use --device cpu, or set LIBTORCH to a libtorch with CUDA")]
    NoCuda {
        /// What was asked for.
        device: DeviceChoice,
        /// What the loader or libtorch said.
        reason: String,
    },
    /// There are fewer GPUs.
    #[error("cuda:{wanted} was asked for, but libtorch sees {found} GPU(s), numbered from 0")]
    NoSuchGpu {
        /// The number asked for.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
}

/// A device by its name on the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU where there is one that works, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this number, from 0.
    Cuda(usize),
}

/// A device ready for use, and how it was come by: a line for the log, since `auto` may choose either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The device.
    pub device: Device,
    /// Why this one, in a few words.
    pub reason: String,
}

impl DeviceChoice {
    /// Loads what the device needs. Call it before any other use of libtorch.
    ///
    /// # Errors
    /// A GPU was asked for by name and there is no driver, no CUDA library, or no GPU of that number. `auto` takes the CPU
    /// then, and says why in [`Opened::reason`].
    pub fn open(self) -> Result<Opened, DeviceError> {
        match self {
            Self::Cpu => Ok(cpu("asked for".to_owned())),
            Self::Cuda(index) => self.gpu(index),
            Self::Auto if !has_nvidia_node() => Ok(cpu("this machine has no NVIDIA device".to_owned())),
            Self::Auto => Ok(self.gpu(0).unwrap_or_else(|error| cpu(error.to_string()))),
        }
    }

    fn gpu(self, index: usize) -> Result<Opened, DeviceError> {
        if !has_nvidia_node() {
            return Err(DeviceError::NoGpu(self));
        }
        let failed = |reason| DeviceError::NoCuda { device: self, reason };
        let library = load_cuda().map_err(failed)?;
        let found = ext::cuda_devices().map_err(|error| failed(error.to_string()))?;
        if index >= found {
            return Err(DeviceError::NoSuchGpu { wanted: index, found });
        }
        Ok(Opened { device: Device::Cuda(index), reason: format!("{found} GPU(s), through {}", library.display()) })
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::UnknownDevice(name.to_owned());
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let index = name.strip_prefix("cuda:").filter(|index| index.bytes().all(|b| b.is_ascii_digit()));
                index.and_then(|index| index.parse().ok()).map(Self::Cuda).ok_or_else(unknown)
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// The type a model computes in, by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit IEEE floats.
    F32,
    /// bfloat16: a float's exponent with 8 significant bits.
    Bf16,
}

impl Dtype {
    /// tch's name of the type.
    pub fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
        }
    }
}

impl FromStr for Dtype {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        match name {
            "f32" | "fp32" | "float32" => Ok(Self::F32),
            "bf16" | "bfloat16" => Ok(Self::Bf16),
            _ => Err(DeviceError::UnknownDtype(name.to_owned())),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

/// Whether an NVIDIA driver is running.
pub(crate) fn has_nvidia_node() -> bool {
    NVIDIA_NODES.iter().any(|node| Path::new(node).exists())
}

fn cpu(reason: String) -> Opened {
    Opened { device: Device::Cpu, reason }
}

/// Loads libtorch's CUDA library, once, for the rest of the process; its path.
fn load_cuda() -> Result<PathBuf, String> {
    static LOADED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    LOADED.get_or_init(open_cuda_library).clone()
}

fn open_cuda_library() -> Result<PathBuf, String> {
    let path = libtorch_folder().ok_or("libtorch_cpu.so is not among this process's libraries")?.join("libtorch_cuda.so");
    if !path.exists() {
        return Err(format!("{} does not exist", path.display()));
    }
    // SAFETY: the library belongs to the libtorch already loaded from the same folder; its initialisers register kernels and
    // expect nothing else of the process.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) };
    // Its kernels stay registered, so it must stay loaded.
    std::mem::forget(library.map_err(|error| format!("{} could not be loaded ({error})", path.display()))?);
    Ok(path)
}

/// The folder that this process's `libtorch_cpu.so` was loaded from.
pub(crate) fn libtorch_folder() -> Option<PathBuf> {
    folder_of("libtorch_cpu.so", &std::fs::read_to_string("/proc/self/maps").ok()?)
}

/// The folder of a library in the text of `/proc/self/maps`, whose lines end in the mapped file's path.
fn folder_of(library: &str, maps: &str) -> Option<PathBuf> {
    let path = maps.lines().find_map(|line| line.find('/').map(|at| &line[at..]).filter(|path| path.ends_with(&format!("/{library}"))))?;
    Path::new(path).parent().map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_are_read_and_written() {
        for (name, choice) in [("auto", DeviceChoice::Auto), ("cpu", DeviceChoice::Cpu), ("cuda:3", DeviceChoice::Cuda(3))] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap(), choice);
            assert_eq!(choice.to_string(), name);
        }
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
        for name in ["", "gpu", "cuda:", "cuda:-1", "cuda:+1", "cuda:99999999999999999999", "CPU"] {
            assert!(name.parse::<DeviceChoice>().unwrap_err().to_string().contains("expected auto, cpu, cuda or cuda:N"));
        }
    }

    #[test]
    fn dtype_aliases_mean_the_same() {
        for name in ["f32", "fp32", "float32"] {
            assert_eq!(name.parse::<Dtype>().unwrap().kind(), Kind::Float);
        }
        for name in ["bf16", "bfloat16"] {
            assert_eq!(name.parse::<Dtype>().unwrap().kind(), Kind::BFloat16);
        }
        assert!("f16".parse::<Dtype>().is_err());
    }

    #[test]
    fn the_folder_is_the_one_after_the_spaces() {
        let maps = "7f00-7f01 r--p 00000000 08:01 17 /usr/lib/libc.so.6\n7f02-7f03 r-xp 0 08:01 18                 /opt/my torch/lib/libtorch_cpu.so\n";
        assert_eq!(folder_of("libtorch_cpu.so", maps), Some(PathBuf::from("/opt/my torch/lib")));
        assert_eq!(folder_of("torch_cpu.so", maps), None);
    }

    #[test]
    fn libtorch_is_found_where_it_was_loaded() {
        tch::get_num_threads();
        assert!(libtorch_folder().unwrap().join("libtorch_cpu.so").is_file());
    }

    #[test]
    fn cpu_opens_and_a_gpu_that_is_not_there_is_one_sentence() {
        assert_eq!(DeviceChoice::Cpu.open().unwrap().device, Device::Cpu);
        if !has_nvidia_node() {
            assert_eq!(DeviceChoice::Auto.open().unwrap().device, Device::Cpu);
            let error = DeviceChoice::Cuda(1).open().unwrap_err().to_string();
            assert!(error.starts_with("cuda:1 was asked for, but this machine has no NVIDIA device"), "{error}");
        }
    }
}
