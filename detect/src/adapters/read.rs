//! Rows of a data set from JSON lines, plain or packed with Zstandard: a broken row is an item with its line and reason, and the rest is read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::{Adapter, Item};

/// The largest window that files here are packed with, as a power of two.
const WINDOW_LOG: u32 = 27;

/// Why a line gave no item.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct RowError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

type Read = Vec<Result<Item, RowError>>;

/// All items of a file, `.zst` or plain.
///
/// # Errors
/// When the file cannot be opened; a bad row is an entry of its own.
pub fn read(adapter: &Adapter, path: &Path) -> io::Result<Read> {
    let file = File::open(path)?;
    if path.extension().is_none_or(|extension| extension != "zst") {
        return Ok(read_lines(adapter, BufReader::new(file)));
    }
    let mut unpacked = zstd::Decoder::new(file)?;
    unpacked.window_log_max(WINDOW_LOG)?;
    Ok(read_lines(adapter, BufReader::new(unpacked)))
}

/// All items of an input. Empty lines are passed over; a failing read is an entry and ends it.
pub fn read_lines(adapter: &Adapter, input: impl BufRead) -> Read {
    let mut items = Vec::new();
    for (line, number) in input.split(b'\n').zip(1..) {
        let fault = |reason| Err(RowError { line: number, reason });
        match line {
            Err(error) => {
                items.push(fault(format!("cannot read on: {error}")));
                break;
            }
            Ok(line) if line.trim_ascii().is_empty() => {}
            Ok(line) => match convert(adapter, &line) {
                Ok(found) => items.extend(found.into_iter().map(Ok)),
                Err(reason) => items.push(fault(reason)),
            },
        }
    }
    if adapter.annotators { merged(items) } else { items }
}

fn convert(adapter: &Adapter, line: &[u8]) -> Result<Vec<Item>, String> {
    let text = std::str::from_utf8(line).map_err(|error| format!("not UTF-8 from byte {} on", error.valid_up_to() + 1))?;
    let items = (adapter.convert)(text.trim())?;
    items.iter().try_for_each(|item| item.record.check().map_err(|error| error.to_string()))?;
    Ok(items)
}

/// A row of a set's own type from a line of JSON, and the items it stands for.
pub(super) fn items<R: DeserializeOwned>(line: &str, items: impl Fn(R) -> Result<Vec<Item>, String>) -> Result<Vec<Item>, String> {
    let within_line = |error: serde_json::Error| error.to_string().replace(" at line 1 column ", " at column ");
    items(serde_json::from_str(line).map_err(within_line)?)
}

/// One item for each id, labelled by majority of its annotators (an annotator who marks anything calls the response wrong; a tie leaves no
/// label), with the units of them all. Errors keep their place behind the items.
fn merged(items: Read) -> Read {
    let (mut order, mut groups, mut errors) = (Vec::new(), BTreeMap::<String, Vec<Item>>::new(), Vec::new());
    for item in items {
        match item {
            Err(error) => errors.push(Err(error)),
            Ok(item) => {
                let group = groups.entry(item.record.id.clone()).or_default();
                if group.is_empty() {
                    order.push(item.record.id.clone());
                }
                group.push(item);
            }
        }
    }
    let whole = order.into_iter().filter_map(|id| groups.remove(&id).and_then(one));
    whole.map(Ok).chain(errors).collect()
}

/// The items of one response as one.
fn one(items: Vec<Item>) -> Option<Item> {
    let mut votes = BTreeMap::new();
    for (annotator, label) in items.iter().filter_map(|item| Some((item.annotator.clone(), item.record.label?))) {
        let vote = votes.entry(annotator).or_insert(label);
        *vote = label.max(*vote);
    }
    let (wrong, all) = (votes.values().filter(|&&label| label == 1).count(), votes.len());
    let units: Vec<_> = items.iter().flat_map(|item| item.units.clone()).collect();
    let first = items.into_iter().next()?;
    let majority = (2 * wrong != all).then_some(2 * wrong > all);
    Some(Item { units, annotator: None, ..first }.labelled(majority))
}
