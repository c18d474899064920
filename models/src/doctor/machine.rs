//! Processor, memory and load, as Linux states them under `/proc`; what it does not state is left out.

use std::fmt;
use std::fs::read_to_string;

use serde::Serialize;

/// The instructions that decide which kernels run, as `/proc/cpuinfo` names them.
const FEATURES: [&str; 6] = ["avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd"];

/// Processor, memory and load.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: Option<String>,
    /// Which of the instructions matter that decide over kernels it has.
    pub cpu_features: Vec<String>,
    /// Processors this process may run on.
    pub logical_cpus: Option<usize>,
    /// Memory of the machine, in bytes.
    pub memory_total_bytes: Option<u64>,
    /// Memory that programs may still take, in bytes.
    pub memory_available_bytes: Option<u64>,
    /// Mean number of runnable processes over the last minute.
    pub load_average: Option<f64>,
}

impl Machine {
    /// Reads all of it.
    pub fn read() -> Self {
        let text = |path| read_to_string(path).unwrap_or_default();
        let (cpu, memory) = (text("/proc/cpuinfo"), text("/proc/meminfo"));
        Self {
            cpu: field(&cpu, "model name").map(str::to_owned),
            cpu_features: features(&cpu),
            logical_cpus: std::thread::available_parallelism().ok().map(usize::from),
            memory_total_bytes: bytes(&memory, "MemTotal"),
            memory_available_bytes: bytes(&memory, "MemAvailable"),
            load_average: text("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()),
        }
    }
}

/// The most bytes of memory this process ever held, where the system tells.
pub fn peak_resident_bytes() -> Option<u64> {
    bytes(&read_to_string("/proc/self/status").ok()?, "VmHWM")
}

/// The value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim()))
}

/// A value given in kB, in bytes.
fn bytes(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The [`FEATURES`] named in the flags of the first processor.
fn features(cpuinfo: &str) -> Vec<String> {
    let flags: Vec<&str> = field(cpuinfo, "flags").or_else(|| field(cpuinfo, "Features")).unwrap_or_default().split(' ').collect();
    FEATURES.into_iter().filter(|feature| flags.contains(feature)).map(str::to_owned).collect()
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gigabytes = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), |b| format!("{:.1} GB", b as f64 / 1e9));
        let count = self.logical_cpus.map_or_else(|| "an unknown number of".to_owned(), |count| count.to_string());
        let name = self.cpu.as_deref().unwrap_or("unknown");
        writeln!(f, "cpu        {name}, {count} logical ({})", self.cpu_features.join(" "))?;
        writeln!(f, "memory     {}, {} available", gigabytes(self.memory_total_bytes), gigabytes(self.memory_available_bytes))?;
        match self.load_average {
            Some(load) if load > 1.0 => writeln!(f, "load       {load:.2}: the machine is busy, the rates below are too low"),
            Some(load) => writeln!(f, "load       {load:.2}"),
            None => writeln!(f, "load       unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_and_absent_ones_left_out() {
        let cpuinfo = "processor\t: 0\nmodel name\t: A CPU: 3 GHz\nflags\t\t: fpu avx2 fma avx512_bf16\n\nprocessor\t: 1\n";
        assert_eq!(field(cpuinfo, "model name"), Some("A CPU: 3 GHz"));
        assert_eq!(features(cpuinfo), ["avx2", "fma", "avx512_bf16"]);
        assert_eq!(features(""), Vec::<String>::new());
    }

    #[test]
    fn kilobytes_become_bytes() {
        assert_eq!(bytes("MemTotal:       24000 kB\n", "MemTotal"), Some(24_576_000));
        assert_eq!(bytes("MemTotal:       many kB\n", "MemTotal"), None);
        assert_eq!(bytes(&format!("MemTotal: {} kB\n", u64::MAX), "MemTotal"), None);
    }

    #[test]
    fn a_machine_that_says_nothing_is_still_described() {
        assert!(Machine::default().to_string().contains("unknown"));
    }
}
