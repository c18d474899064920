//! A calibrator's file, and what its reader warns of.

use std::path::Path;

use anyhow::{Context, Result};
use coppice_detect::calibration::Calibrator;
use coppice_detect::drift::Drift;

use crate::common::read_text;
use crate::output;

/// Chance of a false alarm about a batch.
const ALARM: f64 = 0.01;

/// Reads a calibrator.
pub(super) fn read(path: &Path) -> Result<Calibrator> {
    Calibrator::from_json(&read_text(path)?).with_context(|| path.display().to_string())
}

/// Compares a batch of scores with those calibrated on, and warns on stderr where they are distributed otherwise.
pub(super) fn drift(calibrator: &Calibrator, scores: &[f64]) -> Option<Drift> {
    let drift = calibrator.reference.as_ref()?.drift(scores).ok()?;
    if drift.p_value < ALARM {
        let Drift { n, outside, statistic, p_value } = drift;
        output::say(format!(
            "warning: {} of these {n} responses is distributed otherwise than in calibration (Kolmogorov-Smirnov {statistic:.3}, p {p_value:.1e}, \
             {:.1} % outside of its range): probabilities and promises may not hold; calibrate again on responses like these",
            calibrator.score,
            outside * 100.0
        ));
    }
    Some(drift)
}
