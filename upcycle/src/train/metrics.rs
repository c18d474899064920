//! `metrics.jsonl`: one object a step, and one a measurement on held-out tokens.
//!
//! On resuming, lines after the checkpoint's step are cut off, so that the file never holds a step twice or misses one.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use coppice_models::fs::write_atomic;
use serde::{Deserialize, Serialize};

use super::error::{Result, TrainError};
use super::losses::Evaluation;

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// An optimizer step.
    Step(Box<StepMetrics>),
    /// A measurement on held-out tokens.
    Validation(ValidationMetrics),
}

impl Line {
    /// The step the line belongs to.
    pub fn step(&self) -> u64 {
        match self {
            Self::Step(line) => line.step,
            Self::Validation(line) => line.step,
        }
    }
}

/// What an optimizer step found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepMetrics {
    /// The step, counted from 1.
    pub step: u64,
    /// Tokens predicted in training so far.
    pub tokens: u64,
    /// Mean cross entropy per token, nats.
    pub loss: f64,
    /// Load-balance loss, mean over routed layers; 1 at best, without its coefficient. None with expert choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<f64>,
    /// The same, layer by layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance_per_layer: Option<Vec<f64>>,
    /// Coefficients the balance losses of this step had, where they are adaptive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance_coefficient_per_layer: Option<Vec<f64>>,
    /// Router z-loss, mean over routed layers, without its coefficient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub z: Option<f64>,
    /// The same, layer by layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub z_per_layer: Option<Vec<f64>>,
    /// Learning rate.
    pub lr: f64,
    /// L2 norm of the gradient before clipping.
    pub grad_norm: f64,
    /// L2 norm of the routers' gradients before clipping: zero where routers cannot learn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router_grad_norm: Option<f64>,
    /// Where assignments went, layer by layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expert_load: Option<Vec<ExpertLoad>>,
    /// Tokens per second of this step.
    pub tokens_per_second: f64,
    /// Floating-point operations a second that the model asks for in forward and backward passes; what is computed twice counts once. This
    /// and what follows are absent in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flops_per_second: Option<f64>,
    /// The same as a share of the rate of a large matrix product on this machine (model FLOPs utilisation), where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfu: Option<f64>,
    /// The most bytes the process held so far: on a GPU those of tensors there, on a CPU all that was resident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
}

/// Where one layer's assignments went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpertLoad {
    /// Index of the layer.
    pub layer: usize,
    /// Share of assignments per expert; sums to 1.
    pub share: Vec<f64>,
    /// The busiest expert's share.
    pub max: f64,
    /// The idlest expert's share.
    pub min: f64,
    /// Entropy of the shares, nats: `ln N` where they are even, 0 where one expert gets everything. These and what follows are absent
    /// in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_entropy: Option<f64>,
    /// Experts that no token of the step chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<usize>,
    /// Share of assignments that were dropped for want of room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_rate: Option<f64>,
    /// Mean cosine similarity over the pairs of experts after the step, in the steps in which it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f64>,
}

impl ExpertLoad {
    /// Shares of `counts` assignments per expert, of which none was dropped.
    ///
    /// # Errors
    /// When nothing was assigned.
    pub fn new(layer: usize, counts: &[i64]) -> Result<Self> {
        let total: i64 = counts.iter().sum();
        if total <= 0 {
            return Err(TrainError::Tokens(format!("layer {layer} routed no token")));
        }
        let share: Vec<f64> = counts.iter().map(|&count| count as f64 / total as f64).collect();
        let (max, min) = share.iter().fold((0.0, 1.0), |(max, min), &s| (f64::max(max, s), f64::min(min, s)));
        let entropy = -share.iter().filter(|&&s| s > 0.0).map(|s| s * s.ln()).sum::<f64>();
        let (load_entropy, dead) = (Some(entropy.max(0.0)), Some(counts.iter().filter(|&&count| count == 0).count()));
        Ok(Self { layer, share, max, min, load_entropy, dead, drop_rate: Some(0.0), similarity: None })
    }
}

/// A measurement on held-out tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationMetrics {
    /// The step after which it was made.
    pub step: u64,
    /// What was found.
    pub validation: Evaluation,
}

/// The file of a run, open for appending.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Opens `path`, cutting off every line after step `done` and any torn one.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: &Path, done: u64) -> Result<Self> {
        let kept: Vec<Line> = read(path)?.into_iter().filter(|line| line.step() <= done).collect();
        let text = kept.iter().map(encoded).collect::<Result<String>>()?;
        write_atomic(path, text.as_bytes()).map_err(coppice_models::Error::from)?;
        let file = OpenOptions::new().append(true).open(path).map_err(|source| TrainError::io(path, source))?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&mut self, line: &Line) -> Result<()> {
        let text = encoded(line)?;
        self.file.write_all(text.as_bytes()).map_err(|source| TrainError::io(&self.path, source))
    }

    /// Makes all lines durable, as must be before a checkpoint claims their steps.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|source| TrainError::io(&self.path, source))
    }
}

/// The whole lines of a metrics file; none where there is no file. Lines that are not metrics (torn by a crash) are left out.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(TrainError::io(path, source)),
    }
}

fn encoded(line: &Line) -> Result<String> {
    let text = serde_json::to_string(line).map_err(|error| TrainError::Recipe(format!("metrics: {error}")))?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64) -> Line {
        let text = r#"{"step":0,"tokens":8,"loss":1.5,"lr":0.1,"grad_norm":2.0,"tokens_per_second":100.0}"#;
        Line::Step(Box::new(StepMetrics { step, ..serde_json::from_str(text).unwrap() }))
    }

    #[test]
    fn reopening_cuts_off_what_came_later_and_what_was_torn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = MetricsLog::open(&path, 0).unwrap();
        let validation = Line::Validation(ValidationMetrics { step: 2, validation: Evaluation { loss: 1.0, perplexity: 2.7, tokens: 9 } });
        for line in [step(1), step(2), validation.clone(), step(3)] {
            log.write(&line).unwrap();
        }
        log.file.write_all(b"{\"step\":4,\"tok").unwrap();
        let mut log = MetricsLog::open(&path, 2).unwrap();
        log.write(&step(3)).unwrap();
        assert_eq!(read(&path).unwrap(), [step(1), step(2), validation, step(3)]);
    }

    #[test]
    fn shares_sum_to_one() {
        let load = ExpertLoad::new(3, &[6, 0, 2]).unwrap();
        assert_eq!((load.layer, &load.share[..], load.max, load.min), (3, &[0.75, 0.0, 0.25][..], 0.75, 0.0));
        let entropy = 0.75 * (4.0_f64 / 3.0).ln() + 0.25 * 4_f64.ln();
        assert!((load.load_entropy.unwrap() - entropy).abs() < 1e-15 && load.dead == Some(1) && load.drop_rate == Some(0.0));
        assert_eq!(ExpertLoad::new(0, &[5, 0]).unwrap().load_entropy, Some(0.0));
        assert!(ExpertLoad::new(0, &[0, 0]).is_err());
    }

    #[test]
    fn lines_of_earlier_versions_are_read() {
        let old = r#"{"step":1,"tokens":8,"loss":1.5,"balance":1.1,"z":2.0,"lr":0.1,"grad_norm":2.0,"router_grad_norm":0.1,
            "expert_load":[{"layer":0,"share":[1.0],"max":1.0,"min":1.0}],"tokens_per_second":9.0}"#;
        let Line::Step(line) = serde_json::from_str(old).unwrap() else { panic!() };
        let load = &line.expert_load.unwrap()[0];
        assert_eq!((load.load_entropy, load.dead, line.z_per_layer), (None, None, None));
    }
}
