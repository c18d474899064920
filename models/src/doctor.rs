//! What `coppice doctor` says: the libtorch in use, the machine, and how fast the machine is at the two things a model does,
//! reading weights and multiplying matrices.

mod machine;
mod speed;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use machine::{Machine, peak_resident_bytes};
pub use speed::{Speed, bandwidth, matmul};

use crate::Result;
use crate::device::{DeviceChoice, libtorch_folder};
use crate::ext;

/// Everything `coppice doctor` reports; as text by [`Display`](fmt::Display), as JSON through serde.
#[derive(Debug, Clone, Serialize)]
pub struct DoctorReport {
    /// Coppice's version.
    pub coppice: &'static str,
    /// The libtorch in use.
    pub libtorch: Libtorch,
    /// The GPUs, and how they were looked for.
    pub cuda: Cuda,
    /// Processor, memory and load.
    pub machine: Machine,
    /// Measured rates of the CPU.
    pub speed: Speed,
}

/// The libtorch in use.
#[derive(Debug, Clone, Serialize)]
pub struct Libtorch {
    /// The version of the loaded libtorch where it says so, as `2.11.0+cu130`, else [`compiled_for`](Self::compiled_for).
    pub version: String,
    /// The version whose headers Coppice was compiled against.
    pub compiled_for: String,
    /// The folder its libraries were loaded from.
    pub folder: Option<PathBuf>,
    /// Whether its C++ ABI is that of C++11.
    pub cxx11_abi: bool,
    /// Threads of one operation.
    pub threads: i32,
    /// The instruction set of its own kernels, as `AVX512`.
    pub capability: String,
    /// The kernel of Coppice that multiplies a few rows in bf16.
    pub kernel: ext::Path,
}

/// The GPUs libtorch sees.
#[derive(Debug, Clone, Serialize)]
pub struct Cuda {
    /// Whether there is at least one.
    pub available: bool,
    /// How many.
    pub devices: usize,
    /// How they were found, or why there are none.
    pub how: String,
}

impl DoctorReport {
    /// Looks for GPUs, reads what the system says of itself and measures for one to two seconds. Call it before any other use
    /// of libtorch (see [`crate::device`]), on an idle machine.
    ///
    /// # Errors
    /// libtorch refuses to multiply, or memory for the measurement is lacking.
    pub fn measure() -> Result<Self> {
        let cuda = Cuda::find()?;
        let machine = Machine::read();
        let speed = Speed::measure(machine.memory_available_bytes)?;
        Ok(Self { coppice: env!("CARGO_PKG_VERSION"), libtorch: Libtorch::describe(), cuda, machine, speed })
    }
}

impl Libtorch {
    fn describe() -> Self {
        let compiled_for = ext::torch_version();
        let folder = libtorch_folder();
        Self {
            version: folder.as_deref().and_then(loaded_version).unwrap_or_else(|| compiled_for.clone()),
            compiled_for,
            folder,
            cxx11_abi: ext::cxx11_abi(),
            threads: tch::get_num_threads(),
            capability: ext::torch_capability(),
            kernel: ext::Path::best(),
        }
    }
}

impl Cuda {
    fn find() -> Result<Self> {
        let opened = DeviceChoice::Auto.open().map_err(|error| crate::Error::Input(error.to_string()))?;
        let available = opened.device.is_cuda();
        let devices = if available { ext::cuda_devices()? } else { 0 };
        Ok(Self { available, devices, how: opened.reason })
    }
}

/// The version that a wheel states in `version.py`, or libtorch's archive in `build-version`, beside the libraries' folder.
fn loaded_version(folder: &Path) -> Option<String> {
    let parent = folder.parent()?;
    let python = || version_of_python(&std::fs::read_to_string(parent.join("version.py")).ok()?);
    let archive = || Some(std::fs::read_to_string(parent.join("build-version")).ok()?.trim().to_owned());
    python().or_else(archive)
}

/// The value of `__version__` in the text of a `version.py`.
fn version_of_python(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("__version__")?.trim_start().strip_prefix('='))?;
    Some(value.trim().trim_matches(['\'', '"']).to_owned())
}

impl fmt::Display for DoctorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "coppice    {}", self.coppice)?;
        write!(f, "{}", self.libtorch)?;
        writeln!(f, "cuda       {} device(s): {}", self.cuda.devices, self.cuda.how)?;
        write!(f, "{}{}", self.machine, self.speed)
    }
}

impl fmt::Display for Libtorch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let abi = if self.cxx11_abi { "C++11" } else { "pre-C++11" };
        let folder = self.folder.as_ref().map_or_else(|| "an unknown folder".to_owned(), |folder| folder.display().to_string());
        writeln!(f, "libtorch   {} ({abi} ABI, {}) from {folder}", self.version, self.capability)?;
        if !self.version.starts_with(&self.compiled_for) {
            writeln!(f, "           WARNING: Coppice was compiled for libtorch {}", self.compiled_for)?;
        }
        writeln!(f, "threads    {}; bf16 kernel for few rows: {}", self.threads, self.kernel.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_a_wheel() {
        let text = "from typing import Optional\n\n__all__ = ['__version__']\n__version__ = '2.11.0+cu130'\ndebug = False\n";
        assert_eq!(version_of_python(text).as_deref(), Some("2.11.0+cu130"));
        assert_eq!(version_of_python("debug = False"), None);
    }

    #[test]
    fn the_report_is_whole_as_text_and_as_json() {
        let report = DoctorReport::measure().unwrap();
        let text = report.to_string();
        for label in ["coppice ", "libtorch ", "threads ", "cuda ", "cpu ", "memory ", "load ", "reading ", "matmul "] {
            assert!(text.lines().any(|line| line.starts_with(label)), "{label} is not in\n{text}");
        }
        let json = serde_json::to_value(&report).unwrap();
        assert!(json["libtorch"]["version"].as_str().unwrap().starts_with("2.11.0"));
        assert!(json["libtorch"]["kernel"].is_string());
        assert!(json["speed"]["memory_read_gb_per_s"].as_f64().unwrap() > 0.0);
    }
}
