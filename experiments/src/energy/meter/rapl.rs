//! Running average power limit: counters of microjoules of each processor package.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Counter;

/// The packages' counters.
#[derive(Debug)]
pub(super) struct Rapl {
    packages: Vec<PathBuf>,
    wraps: Vec<f64>,
}

impl Rapl {
    /// The packages under a folder (`intel-rapl:0`, `intel-rapl:1`; AMD's have these names too); none where no counter can be read.
    pub(super) fn open(folder: &Path) -> Option<Self> {
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_package =
            |path: &PathBuf| name(path).strip_prefix("intel-rapl:").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()));
        let mut packages: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).filter(is_package).collect();
        packages.sort();
        packages.retain(|package| number(&package.join("energy_uj")).is_ok());
        let wraps = packages.iter().map(|package| number(&package.join("max_energy_range_uj")).unwrap_or(f64::INFINITY)).collect();
        (!packages.is_empty()).then_some(Self { packages, wraps })
    }
}

impl Counter for Rapl {
    fn name(&self) -> String {
        format!("RAPL, {} processor packages without memory and the rest of the machine", self.packages.len())
    }

    fn devices(&self) -> usize {
        self.packages.len()
    }

    fn joules(&self) -> Result<Vec<f64>> {
        self.packages.iter().map(|package| number(&package.join("energy_uj"))).collect()
    }

    fn wraps(&self) -> Vec<f64> {
        self.wraps.clone()
    }
}

/// Microjoules in a file, as joules.
fn number(path: &Path) -> Result<f64> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim().parse::<f64>().with_context(|| format!("{} holds no number", path.display()))? / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::meter::Meter;

    fn set(folder: &Path, package: usize, microjoules: u64) {
        let folder = folder.join(format!("intel-rapl:{package}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("energy_uj"), format!("{microjoules}\n")).unwrap();
        std::fs::write(folder.join("max_energy_range_uj"), "10000000\n").unwrap();
    }

    #[test]
    fn packages_are_summed_and_a_counter_may_begin_again() {
        let folder = tempfile::tempdir().unwrap();
        set(folder.path(), 0, 1_000_000);
        set(folder.path(), 1, 9_000_000);
        std::fs::create_dir_all(folder.path().join("intel-rapl:0:0")).unwrap();
        let meter = Meter::start(Box::new(Rapl::open(folder.path()).unwrap())).unwrap();
        set(folder.path(), 0, 3_500_000);
        set(folder.path(), 1, 2_000_000);
        let reading = meter.read().unwrap();
        assert!((reading.joules - (2.5 + 3.0)).abs() < 1e-9 && reading.devices == 2, "{reading:?}");
    }

    #[test]
    fn a_machine_without_counters_has_no_meter() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Rapl::open(folder.path()).is_none() && Rapl::open(&folder.path().join("none")).is_none());
        std::fs::create_dir_all(folder.path().join("intel-rapl:0")).unwrap();
        assert!(Rapl::open(folder.path()).is_none(), "a counter that cannot be read is none");
    }
}
