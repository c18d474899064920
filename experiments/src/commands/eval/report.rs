//! The results of all tasks: a file, a table, and a log of the items.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use coppice_models::fs::{Existing, write_atomic};
use serde_json::{Map, Value, json};
use tch::{Device, Kind};

use super::EvalArgs;
use crate::common::Outcome;
use crate::eval::cache::Cache;
use crate::eval::metrics::Figure;
use crate::eval::results::TaskResults;
use crate::{jsonl, output};

/// Results as they come.
#[derive(Debug)]
pub(super) struct Report {
    path: PathBuf,
    header: Map<String, Value>,
    tasks: Map<String, Value>,
    rows: Vec<String>,
    samples: Vec<Value>,
    /// Whether everything asked for was done.
    whole: bool,
    /// Whether --resume could do more.
    unfinished: bool,
    start: Instant,
}

impl Report {
    pub(super) fn new(path: PathBuf, arguments: &EvalArgs) -> Self {
        let mut header = Map::new();
        header.insert("coppice".into(), env!("CARGO_PKG_VERSION").into());
        header.insert("seed".into(), arguments.seed.into());
        header.insert("limit".into(), json!(arguments.limit));
        header.insert("testing".into(), arguments.limit.is_some().into());
        let (tasks, rows, samples) = (Map::new(), Vec::new(), Vec::new());
        Self { path, header, tasks, rows, samples, whole: true, unfinished: false, start: Instant::now() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn of_model(&mut self, model: &str, kind: Kind, device: Device) {
        self.header.insert("model".into(), model.into());
        self.header.insert("dtype".into(), format!("{kind:?}").to_lowercase().into());
        self.header.insert("device".into(), format!("{device:?}").to_lowercase().into());
    }

    /// A task that could not be run.
    pub(super) fn refused(&mut self, name: &str, why: &str) {
        self.whole = false;
        self.unfinished = true;
        self.tasks.insert(name.to_owned(), json!({ "error": why }));
    }

    /// A task that was run.
    pub(super) fn add(&mut self, name: &str, results: TaskResults, samples: Vec<Value>) {
        let TaskResults { failed, truncated, items, .. } = results;
        for error in &results.errors {
            output::say(format!("{name} {}: {}", text(&error["id"]), text(&error["error"])));
        }
        if truncated > 0 {
            output::say(format!("{name}: {truncated} of {items} prompts exceed the model's context and were cut on the left"));
        }
        self.whole &= failed == 0 && truncated == 0;
        self.unfinished |= failed > 0;
        let lead = |metric: &String| if *metric == results.headline { "*" } else { "" };
        let rows = results.metrics.iter().map(|(metric, figure)| row(name, &format!("{metric}{}", lead(metric)), figure, items));
        self.rows.extend(rows);
        for (area, figures) in &results.areas {
            self.rows.extend(figures.iter().map(|(metric, figure)| row(&format!("- {area}"), metric, figure, 0)));
        }
        self.samples.extend(samples);
        self.tasks.insert(name.to_owned(), serde_json::to_value(results).unwrap_or_default());
    }

    /// Writes everything and says how it went. The kept answers go, unless some items have none.
    pub(super) fn write(mut self, cache: Cache, log: bool, as_json: bool) -> Result<Outcome> {
        self.header.insert("seconds".into(), self.start.elapsed().as_secs_f64().into());
        self.header.insert("tasks".into(), Value::Object(std::mem::take(&mut self.tasks)));
        let header = Value::Object(std::mem::take(&mut self.header));
        if log {
            jsonl::write(&self.path.with_extension("samples.jsonl"), Existing::Replace, self.samples.iter())?;
        }
        write_atomic(&self.path, format!("{}\n", serde_json::to_string_pretty(&header)?).as_bytes())?;
        if !self.unfinished || cache.len() == 0 {
            cache.close()?;
        }
        self.print(&header, as_json)?;
        Ok(if self.whole { Outcome::Done } else { Outcome::No })
    }

    fn print(&self, header: &Value, as_json: bool) -> Result<()> {
        if as_json {
            return output::json(header);
        }
        if header["testing"] == true {
            output::line(format!("TESTING: the first {} items of each task, not a result", header["limit"]))?;
        }
        self.rows.iter().try_for_each(output::line)
    }
}

fn row(name: &str, metric: &str, figure: &Figure, items: usize) -> String {
    let error = figure.stderr.map(|stderr| format!("± {stderr:.4}")).unwrap_or_default();
    let items = if items > 0 { format!("{items} items") } else { String::new() };
    format!("{name:<26} {metric:<30} {:>10.4} {error:<10} {items}", figure.value).trim_end().to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
