//! `recipe.toml` and `environment.json`: what exactly was run, and on what.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use super::recipe::Recipe;
use super::write_text;
use crate::output;

/// Load average above which timings are not to be trusted on this machine.
const BUSY: f64 = 1.0;

/// Writes both files, and says so when the machine is busy.
pub fn write(folder: &Path, recipe: &Recipe) -> Result<()> {
    write_text(&folder.join("recipe.toml"), &toml::to_string_pretty(recipe)?)?;
    let environment = gather();
    if let Some(load) = load_average().filter(|&load| load > BUSY) {
        output::say(format!("the load average is {load:.2}: other work is running, timings will be worse than they could be"));
    }
    write_text(&folder.join("environment.json"), &serde_json::to_string_pretty(&environment)?)
}

/// What was written when the run was started.
pub fn read(folder: &Path) -> Result<BTreeMap<String, String>> {
    let path = folder.join("environment.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// Versions, commit and hardware, by name.
fn gather() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut put = |name: &str, value: Option<String>| found.extend(value.map(|value| (name.to_owned(), value)));
    put("coppice", Some(env!("CARGO_PKG_VERSION").to_owned()));
    put("libtorch", Some("2.11.0 (tch 0.24.0)".to_owned()));
    put("commit", commit());
    put("date", jiff::fmt::strtime::format("%Y-%m-%d %H:%M %Z", &jiff::ZonedDateTime::now()).ok());
    put("processor", field("/proc/cpuinfo", "model name"));
    put("cores", std::thread::available_parallelism().ok().map(|cores| cores.to_string()));
    put("intra-op threads", Some(tch::get_num_threads().to_string()));
    put("memory", field("/proc/meminfo", "MemTotal"));
    put("system", std::fs::read_to_string("/proc/version").ok().map(|text| text.split(" (").next().unwrap_or_default().to_owned()));
    put("load average at start", load_average().map(|load| format!("{load:.2}")));
    found
}

fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// The value of the first `name : value` line of a system file.
fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The checked-out commit, with a mark where the tree differs from it.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
    };
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    git(&["rev-parse", "--short", "HEAD"]).map(|hash| if dirty { format!("{hash}, changed") } else { hash })
}
