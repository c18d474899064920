//! How long a training run has computed, by its own log.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use coppice_upcycle::train::metrics::{Line, read};
use serde::Serialize;

/// Folders below a run's folder that are looked into.
const DEPTH: usize = 4;

/// What one log says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingHours {
    /// The log.
    pub log: PathBuf,
    /// Optimizer steps.
    pub steps: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Hours of its steps; what came between them (measurements on held-out tokens, checkpoints) is not in the log.
    pub hours: f64,
}

/// Every `metrics.jsonl` of a run: that of a training run itself, or those of all stages of an experiment.
pub fn of_run(folder: &Path) -> Result<Vec<TrainingHours>> {
    let mut logs = Vec::new();
    find(folder, DEPTH, &mut logs);
    logs.sort();
    let found = logs.iter().map(|log| of_log(log)).collect::<Result<Vec<_>>>()?;
    let found: Vec<_> = found.into_iter().filter(|hours| hours.steps > 0).collect();
    if found.is_empty() {
        bail!("{}: no metrics.jsonl with a training step in it or below it", folder.display());
    }
    Ok(found)
}

fn find(folder: &Path, depth: usize, logs: &mut Vec<PathBuf>) {
    let own = folder.join("metrics.jsonl");
    if own.is_file() {
        logs.push(own);
        return;
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir() && !path.is_symlink());
    if depth > 0 {
        folders.for_each(|folder| find(&folder, depth - 1, logs));
    }
}

/// Each step's tokens over its rate.
fn of_log(log: &Path) -> Result<TrainingHours> {
    let mut found = TrainingHours { log: log.to_path_buf(), steps: 0, tokens: 0, hours: 0.0 };
    for line in read(log)? {
        let Line::Step(step) = line else { continue };
        let rate = step.tokens_per_second;
        if !(rate.is_finite() && rate > 0.0) || step.tokens < found.tokens {
            bail!(
                "{}: step {} has {} tokens in all at {rate} a second, expected a growing number and a rate above zero",
                log.display(),
                step.step,
                step.tokens
            );
        }
        found.hours += (step.tokens - found.tokens) as f64 / rate / 3600.0;
        (found.steps, found.tokens) = (found.steps + 1, step.tokens);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64, tokens: u64, rate: f64) -> String {
        format!(r#"{{"step":{step},"tokens":{tokens},"loss":1.5,"lr":0.1,"grad_norm":2.0,"tokens_per_second":{rate}}}"#) + "\n"
    }

    #[test]
    fn hours_are_tokens_over_rates() {
        let folder = tempfile::tempdir().unwrap();
        let stages = [folder.path().join("stages/train-a"), folder.path().join("stages/train-b")];
        for stage in &stages {
            std::fs::create_dir_all(stage).unwrap();
            std::fs::write(stage.join("metrics.jsonl"), step(1, 3600, 1.0) + &step(2, 10_800, 4.0)).unwrap();
        }
        let found = of_run(folder.path()).unwrap();
        assert_eq!(found.iter().map(|hours| (hours.steps, hours.tokens, hours.hours)).collect::<Vec<_>>(), [(2, 10_800, 1.5); 2]);
    }

    #[test]
    fn a_log_that_cannot_be_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(of_run(folder.path()).unwrap_err().to_string().contains("no metrics.jsonl"));
        std::fs::write(folder.path().join("metrics.jsonl"), step(1, 8, 0.0)).unwrap();
        assert!(of_run(folder.path()).unwrap_err().to_string().contains("above zero"));
        std::fs::write(folder.path().join("metrics.jsonl"), step(1, 8, 1.0) + &step(2, 4, 1.0)).unwrap();
        assert!(of_run(folder.path()).is_err());
    }
}
