//! The arms with their costs and results, and their paired differences to the control.

use std::collections::BTreeMap;

use anyhow::Result;
use coppice_detect::metrics::{paired_bootstrap, student_t};
use coppice_detect::paired::{Settings, Variant, compare};
use coppice_reports::data::{Arm, Comparison, Interval, Measure, Role, SeedResult};
use coppice_upcycle::world::{Grade, Group};

use super::{CONFIDENCE, Examined, SEEDS_FOR_INTERVAL};
use crate::runner::cost::Cost;
use crate::runner::recipe::Recipe;

/// The arms with what they cost and what each seed scored.
pub fn arms(recipe: &Recipe, examined: &[Examined], costs: &[Cost]) -> Vec<Arm> {
    costs.iter().map(|cost| arm(recipe, examined, cost)).collect()
}

fn arm(recipe: &Recipe, examined: &[Examined], cost: &Cost) -> Arm {
    let settings = cost.arm.map(|arm| &recipe.arms[arm]);
    let seeds: Vec<SeedResult> = examined.iter().filter(|model| model.trained.grown.arm == cost.arm).map(Examined::seed_result).collect();
    Arm {
        name: settings.map_or_else(|| "base".into(), |arm| arm.name.clone()),
        label: settings.map_or_else(|| "dense, before continuing".into(), |arm| arm.label.clone()),
        role: match settings {
            None => Role::Base,
            Some(arm) if arm.upcycle.is_none() => Role::Control,
            Some(arm) if arm.from_scratch => Role::FromScratch,
            Some(_) => Role::Upcycled,
        },
        parameters: Some(cost.parameters),
        active_parameters: Some(cost.active_parameters),
        flops_per_token: Some(cost.flops_per_token),
        bytes_per_token: Some(cost.bytes_per_token),
        latency_ms: Some(cost.latency_ms),
        latency_batch8_ms: Some(cost.latency_batch8_ms),
        wh_per_1000_tokens: None,
        intervals: Measure::ALL.into_iter().filter_map(|measure| Some((measure, over_seeds(measure, &seeds)?))).collect(),
        seeds,
    }
}

/// Student's t interval of a measure's mean over seeds.
fn over_seeds(measure: Measure, seeds: &[SeedResult]) -> Option<Interval> {
    let values: Vec<f64> = seeds.iter().filter_map(|seed| measure.of(seed)).collect();
    if values.len() < SEEDS_FOR_INTERVAL {
        return None;
    }
    let found = student_t(&values, CONFIDENCE).ok()?;
    Some(Interval { low: found.low, high: found.high })
}

/// Share of questions answered rightly, arm minus control, question by question, mean over seeds.
pub fn comparisons(recipe: &Recipe, examined: &[Examined]) -> Result<Vec<Comparison>> {
    let control = recipe.arms.iter().find(|arm| arm.upcycle.is_none()).map(|arm| arm.name.clone()).unwrap_or_default();
    let of = |name: &str| by_question(examined.iter().filter(|model| model.name == name));
    let control_shares = of(&control);
    let upcycled = recipe.arms.iter().filter(|arm| arm.upcycle.is_some());
    upcycled
        .map(|arm| {
            let shares = of(&arm.name);
            let paired = control_shares.iter().filter_map(|(id, control)| Some((*shares.get(id)?, *control)));
            let (ours, theirs): (Vec<f64>, Vec<f64>) = paired.unzip();
            let found = paired_bootstrap(&ours, &theirs, recipe.detect.resamples, CONFIDENCE, recipe.detect.seed)?;
            Ok(Comparison {
                arm: arm.name.clone(),
                control: control.clone(),
                measure: Measure::FactsKnown,
                difference: Some(found.estimate),
                interval: Some(Interval { low: found.low, high: found.high }),
                confidence: Some(CONFIDENCE),
                questions: Some(ours.len() as u64),
            })
        })
        .collect()
}

/// What each two of the recipe's arms come to on the questions all of them have, a sentence a pair.
pub fn verdicts(recipe: &Recipe, examined: &[Examined]) -> Result<Vec<String>> {
    let shares: Vec<_> = recipe.arms.iter().map(|arm| by_question(examined.iter().filter(|model| model.name == arm.name))).collect();
    let common: Vec<&String> = shares.first().into_iter().flat_map(BTreeMap::keys).collect();
    let common: Vec<_> = common.into_iter().filter(|id| shares.iter().all(|shares| shares.contains_key(*id))).collect();
    if common.len() < 2 {
        return Ok(Vec::new());
    }
    let values: Vec<Vec<f64>> = shares.iter().map(|shares| common.iter().map(|id| shares[*id]).collect()).collect();
    let variants = recipe.arms.iter().zip(&values);
    let variants: Vec<_> =
        variants.map(|(arm, values)| Variant { name: if arm.label.is_empty() { &arm.name } else { &arm.label }, values }).collect();
    let settings = Settings { resamples: recipe.detect.resamples, confidence: CONFIDENCE, seed: recipe.detect.seed, ..Settings::default() };
    Ok(compare(&variants, &settings)?.into_iter().map(|pair| pair.verdict).collect())
}

/// For each question about known people, the share of models that answered it rightly.
fn by_question<'a, 'b: 'a>(models: impl Iterator<Item = &'a Examined<'b>>) -> BTreeMap<String, f64> {
    let mut counts: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for answered in models.flat_map(Examined::headline).filter(|answered| answered.question.group == Group::Known) {
        let count = counts.entry(answered.question.id.clone()).or_default();
        count.0 += f64::from(answered.grade == Grade::Correct);
        count.1 += 1.0;
    }
    counts.into_iter().map(|(id, (right, all))| (id, right / all)).collect()
}
