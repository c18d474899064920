//! How training went: losses by step, load by expert.

use std::collections::BTreeMap;

use anyhow::Result;
use coppice_reports::data::{Curve, CurvePoint, ExpertLoad};
use coppice_upcycle::train::metrics::Line;

use super::{Examined, metrics};

pub fn curves(examined: &[Examined]) -> Result<Vec<Curve>> {
    examined.iter().map(curve).collect()
}

fn curve(model: &Examined) -> Result<Curve> {
    let mut points: BTreeMap<u64, CurvePoint> = BTreeMap::new();
    for line in metrics(model.trained)? {
        let point = points.entry(line.step()).or_insert_with(|| CurvePoint { step: line.step(), ..CurvePoint::default() });
        match line {
            Line::Step(step) => (point.tokens, point.train_loss) = (step.tokens, Some(step.loss)),
            Line::Validation(found) => point.validation_loss = Some(found.validation.loss),
        }
    }
    let phase = if model.trained.arm.is_none() { "pre-training" } else { "continued training" };
    Ok(Curve { arm: model.name.clone(), seed: model.trained.seed, phase: phase.into(), points: points.into_values().collect() })
}

/// The last logged load of every routed layer.
pub fn expert_load(examined: &[Examined]) -> Result<Vec<ExpertLoad>> {
    let mut loads = Vec::new();
    for model in examined {
        let last =
            metrics(model.trained)?.into_iter().rev().find_map(|line| if let Line::Step(step) = line { step.expert_load } else { None });
        loads.extend(last.map(|layers| ExpertLoad {
            arm: model.name.clone(),
            seed: model.trained.seed,
            layer_indices: layers.iter().map(|layer| layer.layer).collect(),
            layers: layers.into_iter().map(|layer| layer.share).collect(),
        }));
    }
    Ok(loads)
}
