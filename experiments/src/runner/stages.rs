//! Stages cached by content: a stage's folder is named after everything its result depends on, so changing one knob runs again
//! only what depends on it, and a killed run goes on where it stopped.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use coppice_models::fs;
use coppice_reports::data::Stage;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::output;

/// Raised when a stage's way of computing changes, so that older results are not taken for new ones.
const FORMAT: u32 = 1;

/// The file that says a stage is complete, written last.
const MARKER: &str = "stage.json";

/// What a finished stage left behind.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its folder.
    pub folder: PathBuf,
    /// Hash of everything the result depends on; part of the keys of the stages after it.
    pub key: String,
}

/// The stages of one run, in the order they were asked for.
#[derive(Debug)]
pub struct Stages {
    root: PathBuf,
    /// Seconds of each, and whether it was reused.
    pub log: Vec<Stage>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    name: String,
    key: String,
    seconds: f64,
    inputs: Value,
}

impl Stages {
    /// The stages kept under `run`/stages.
    pub fn new(run: &Path) -> Self {
        Self { root: run.join("stages"), log: Vec::new() }
    }

    /// Runs `work` in the stage's folder unless a complete result for the same inputs is there.
    ///
    /// `work` may find its own partial results in the folder (training resumes from them).
    pub fn run(&mut self, name: &str, inputs: &Value, work: impl FnOnce(&Path) -> Result<()>) -> Result<Finished> {
        let key = key(name, inputs);
        let folder = self.root.join(format!("{name}-{}", &key[..12]));
        if let Some(marker) = complete(&folder, &key) {
            self.log.push(Stage { name: name.to_owned(), seconds: Some(marker.seconds), cached: true });
            return Ok(Finished { folder, key });
        }
        output::say(format!("[{name}]"));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let start = Instant::now();
        work(&folder).with_context(|| format!("stage {name}"))?;
        let seconds = start.elapsed().as_secs_f64();
        let marker = Marker { name: name.to_owned(), key: key.clone(), seconds, inputs: inputs.clone() };
        fs::write_atomic(folder.join(MARKER), serde_json::to_string_pretty(&marker)?.as_bytes())?;
        output::say(format!("[{name}] {seconds:.1} s"));
        self.log.push(Stage { name: name.to_owned(), seconds: Some(seconds), cached: false });
        Ok(Finished { folder, key })
    }
}

fn key(name: &str, inputs: &Value) -> String {
    // serde_json keeps object keys sorted, so equal inputs give equal text.
    let text = json!({ "name": name, "inputs": inputs, "format": FORMAT }).to_string();
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

fn complete(folder: &Path, key: &str) -> Option<Marker> {
    let text = std::fs::read_to_string(folder.join(MARKER)).ok()?;
    serde_json::from_str::<Marker>(&text).ok().filter(|marker| marker.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(root: &Path, inputs: &Value, fail: bool) -> (Result<Finished>, bool, u32) {
        let (mut stages, mut calls) = (Stages::new(root), 0);
        let result = stages.run("work", inputs, |folder| {
            calls += 1;
            std::fs::write(folder.join("result"), "x")?;
            if fail { anyhow::bail!("no") } else { Ok(()) }
        });
        (result, stages.log.first().is_some_and(|stage| stage.cached), calls)
    }

    #[test]
    fn a_finished_stage_is_reused_and_a_changed_knob_runs_again() {
        let root = tempfile::tempdir().unwrap();
        let first = run(root.path(), &json!({"knob": 1}), false);
        assert_eq!((first.1, first.2), (false, 1));
        let again = run(root.path(), &json!({"knob": 1}), false);
        assert_eq!((again.1, again.2), (true, 0));
        let changed = run(root.path(), &json!({"knob": 2}), false);
        assert_eq!((changed.1, changed.2), (false, 1));
        assert_ne!(first.0.unwrap().key, changed.0.unwrap().key);
    }

    #[test]
    fn a_failed_stage_is_not_taken_for_done() {
        let root = tempfile::tempdir().unwrap();
        assert!(run(root.path(), &json!({}), true).0.is_err());
        assert_eq!(run(root.path(), &json!({}), false).2, 1);
    }
}
