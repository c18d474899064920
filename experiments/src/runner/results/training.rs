//! How training went: losses by step.

use std::collections::BTreeMap;

use anyhow::Result;
use coppice_reports::data::{Curve, CurvePoint};
use coppice_upcycle::train::metrics::Line;

use super::{Examined, metrics};

/// Losses by step, one curve a model.
pub fn curves(examined: &[Examined]) -> Result<Vec<Curve>> {
    examined.iter().map(curve).collect()
}

fn curve(model: &Examined) -> Result<Curve> {
    let mut points: BTreeMap<u64, CurvePoint> = BTreeMap::new();
    for line in metrics(&model.trained.grown)? {
        let point = points.entry(line.step()).or_insert_with(|| CurvePoint { step: line.step(), ..CurvePoint::default() });
        match line {
            Line::Step(step) => (point.tokens, point.train_loss) = (step.tokens, Some(step.loss)),
            Line::Validation(found) => point.validation_loss = Some(found.validation.loss),
        }
    }
    let phase = if model.trained.grown.arm.is_none() { "pre-training" } else { "continued training" };
    Ok(Curve { arm: model.name.clone(), seed: model.trained.grown.seed, phase: phase.into(), points: points.into_values().collect() })
}
