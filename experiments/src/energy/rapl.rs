//! Energy of processors: RAPL, which Linux shows under `/sys/class/powercap` (kernel documentation, `power/powercap`).
//!
//! Each package counts microjoules up to a limit and begins anew. A package's cores are counted in it; memory is a part of it that some
//! processors count and others do not, and it is left out.

use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

use super::meter::{Meter, MeterError, Reading};

/// One processor package.
#[derive(Debug)]
pub struct Rapl {
    name: String,
    counter: PathBuf,
    limit: u64, // microjoules at which it begins anew
    last: u64,
    joules: f64, // since it was opened
}

impl Rapl {
    /// All packages under `folder`.
    pub fn open(folder: &Path) -> Result<Vec<Self>, MeterError> {
        let entries = read_dir(folder).map_err(|error| failed(folder, &error))?;
        let mut zones: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|zone| is_package(zone)).collect();
        zones.sort();
        let packages = zones.iter().map(|zone| Self::package(zone)).collect::<Result<Vec<_>, _>>()?;
        if packages.is_empty() {
            return Err(MeterError::Rapl(format!("no processor package counts energy under {}", folder.display())));
        }
        Ok(packages)
    }

    fn package(zone: &Path) -> Result<Self, MeterError> {
        let counter = zone.join("energy_uj");
        let (last, limit) = (number(&counter)?, number(&zone.join("max_energy_range_uj"))?);
        Ok(Self { name: name(zone), counter, limit, last, joules: 0.0 })
    }
}

impl Meter for Rapl {
    fn name(&self) -> String {
        format!("RAPL, {}", self.name)
    }

    fn read(&mut self) -> Result<Reading, MeterError> {
        let now = number(&self.counter)?;
        let grown = if now >= self.last { now - self.last } else { self.limit.saturating_sub(self.last) + now };
        self.last = now;
        self.joules += grown as f64 / 1e6;
        Ok(Reading::Joules(self.joules))
    }
}

/// The zone's own name, as `package-0`; empty where it has none.
fn name(zone: &Path) -> String {
    read_to_string(zone.join("name")).unwrap_or_default().trim().to_owned()
}

fn is_package(zone: &Path) -> bool {
    name(zone).starts_with("package")
}

fn number(path: &Path) -> Result<u64, MeterError> {
    let text = read_to_string(path).map_err(|error| failed(path, &error))?;
    text.trim().parse().map_err(|_| MeterError::Rapl(format!("{} holds {:?}, expected microjoules", path.display(), text.trim())))
}

fn failed(path: &Path, error: &std::io::Error) -> MeterError {
    MeterError::Rapl(format!("{} cannot be read ({error})", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(folder: &Path, zone: &str, name: &str, microjoules: u64) -> PathBuf {
        let zone = folder.join(zone);
        std::fs::create_dir_all(&zone).unwrap();
        std::fs::write(zone.join("name"), format!("{name}\n")).unwrap();
        std::fs::write(zone.join("max_energy_range_uj"), "1000000\n").unwrap();
        std::fs::write(zone.join("energy_uj"), format!("{microjoules}\n")).unwrap();
        zone
    }

    #[test]
    fn packages_are_counted_and_begin_anew() {
        let folder = tempfile::tempdir().unwrap();
        let first = zone(folder.path(), "intel-rapl:0", "package-0", 900_000);
        zone(folder.path(), "intel-rapl:1", "package-1", 5);
        zone(folder.path(), "intel-rapl:0:0", "core", 7);
        let mut packages = Rapl::open(folder.path()).unwrap();
        assert_eq!(packages.iter().map(Meter::name).collect::<Vec<_>>(), ["RAPL, package-0", "RAPL, package-1"]);
        let shown = [950_000_u64, 50_000, 60_000].map(|now| {
            std::fs::write(first.join("energy_uj"), now.to_string()).unwrap();
            packages[0].read().unwrap()
        });
        // 0.05 J, then 0.05 to the limit and 0.05 past it, then 0.01.
        let expected = [0.05, 0.15, 0.16];
        for (shown, expected) in shown.into_iter().zip(expected) {
            let Reading::Joules(joules) = shown else { panic!("{shown:?}") };
            assert!((joules - expected).abs() < 1e-12, "{joules} is not {expected}");
        }
    }

    #[test]
    fn a_machine_without_counters_says_so() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Rapl::open(folder.path()).unwrap_err().to_string().contains("no processor package"));
        assert!(Rapl::open(&folder.path().join("absent")).unwrap_err().to_string().contains("cannot be read"));
        let broken = zone(folder.path(), "intel-rapl:0", "package-0", 1);
        std::fs::write(broken.join("energy_uj"), "many").unwrap();
        assert!(Rapl::open(folder.path()).unwrap_err().to_string().contains("expected microjoules"));
    }
}
