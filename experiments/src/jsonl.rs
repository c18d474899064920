//! Reading JSONL that somebody else wrote: every fault names its line.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use coppice_models::fs::{AtomicFile, Existing};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// All items of a file; refuses the whole file at the first bad line.
///
/// # Errors
/// Names the file, and the line that is malformed, not UTF-8 or empty.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    if lines.is_empty() {
        bail!("{} is empty", path.display());
    }
    lines.iter().enumerate().map(|(index, line)| item(line).with_context(|| format!("{}, line {}", path.display(), index + 1))).collect()
}

fn item<T: DeserializeOwned>(line: &[u8]) -> Result<T> {
    let text = std::str::from_utf8(line).map_err(|error| anyhow::anyhow!("not UTF-8 at byte {}", error.valid_up_to()))?;
    if text.trim().is_empty() {
        bail!("the line is empty");
    }
    serde_json::from_str(text).map_err(|error| anyhow::anyhow!(within_line(&error)))
}

/// serde_json's message without its own line number, which is always 1 here.
fn within_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

/// Writes one item a line; the file appears whole or not at all.
///
/// # Errors
/// When the file exists and may not be replaced, or cannot be written.
pub fn write<T: Serialize>(path: &Path, existing: Existing, items: impl IntoIterator<Item = T>) -> Result<()> {
    let mut file = AtomicFile::create(path, existing)?;
    for item in items {
        serde_json::to_writer(&mut file, &item)?;
        file.write_all(b"\n")?;
    }
    Ok(file.commit()?)
}
