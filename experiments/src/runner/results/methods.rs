//! All arms side by side: the jump at step 0, the final loss, the facts known, and how evenly experts are used, on each dataset.

use anyhow::{Context, Result};
use coppice_models::Checkpoint;
use coppice_models::flops::{Account, Setting};
use coppice_reports::data::{MethodResult, MethodSeed, Role};
use coppice_upcycle::step0::Step0;

use super::experts::look;
use super::{Examined, Found, final_loss, metrics};
use crate::runner::lab::Grown;
use crate::runner::recipe::{ArmRecipe, Recipe};

/// One row for each arm and dataset.
pub fn methods(recipe: &Recipe, examined: &[Examined], found: &Found) -> Result<Vec<MethodResult>> {
    let world: Vec<(&Grown, Option<f64>)> = examined.iter().map(|model| (&model.trained.grown, model.seed_result().facts_known)).collect();
    let text: Vec<(&Grown, Option<f64>)> = found.on_text.iter().map(|grown| (grown, None)).collect();
    let mut rows = Vec::new();
    for (dataset, models) in [("world", world), ("text", text)] {
        for (index, arm) in recipe.arms.iter().enumerate() {
            let mine: Vec<_> = models.iter().filter(|(grown, _)| grown.arm == Some(index)).copied().collect();
            if !mine.is_empty() {
                rows.push(row(recipe, arm, dataset, &mine)?);
            }
        }
    }
    Ok(rows)
}

fn row(recipe: &Recipe, arm: &ArmRecipe, dataset: &str, models: &[(&Grown, Option<f64>)]) -> Result<MethodResult> {
    let config = Checkpoint::open(models[0].0.train.folder.join("model"))?.config;
    let setting = Setting { context: recipe.detect.context as u64, weight_bytes: 4.0, cache_bytes: 4.0, ..Setting::default() };
    let account = Account::new(&config, setting)?;
    Ok(MethodResult {
        arm: arm.name.clone(),
        label: arm.label.clone(),
        dataset: dataset.into(),
        role: role(arm),
        summary: summary(arm),
        parameters: Some(account.parameters),
        active_parameters: Some(account.active_parameters),
        flops_per_token: Some(account.decode_flops),
        seeds: models.iter().map(|(grown, facts)| seed(grown, *facts)).collect::<Result<_>>()?,
    })
}

fn role(arm: &ArmRecipe) -> Role {
    match &arm.upcycle {
        None => Role::Control,
        Some(_) if arm.from_scratch => Role::FromScratch,
        Some(_) => Role::Upcycled,
    }
}

/// The method and its choices in a few words.
fn summary(arm: &ArmRecipe) -> String {
    let Some(upcycle) = &arm.upcycle else { return "the dense model, continued".into() };
    let start = if arm.from_scratch { "random start" } else { upcycle.method.as_str() };
    let balance = if upcycle.router_bias { ", balancing bias" } else { "" };
    let branches = upcycle.branches.map_or_else(String::new, |branches| {
        let percent = 100.0 * branches.share;
        format!(
            ", {} branches trained on the first {percent:.0} % of the documents (not in \"trained on\", but in the jump)",
            branches.count
        )
    });
    format!(
        "{start}, {} experts, top-{}, {}, router {}{balance}{branches}",
        upcycle.experts,
        upcycle.top_k,
        upcycle.gate.name(),
        upcycle.router_init.name()
    )
}

fn seed(grown: &Grown, facts_known: Option<f64>) -> Result<MethodSeed> {
    let step0 = step0(grown)?;
    let experts = look(grown)?;
    let evenness = experts.as_ref().map(|report| mean(report.layers.iter().filter_map(|layer| layer.evenness())));
    Ok(MethodSeed {
        seed: grown.seed,
        step0_jump: step0.as_ref().map(|report| report.logits.loss_difference()),
        step0_exact: step0.as_ref().map(|report| report.exact),
        final_loss: final_loss(grown)?,
        facts_known,
        load_entropy: evenness,
        dead_experts: experts.as_ref().map(|report| report.layers.iter().map(|layer| layer.dead.len() as u64).sum()),
        tokens: tokens(grown)?,
    })
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}

fn step0(grown: &Grown) -> Result<Option<Step0>> {
    let Some(stage) = &grown.converted else { return Ok(None) };
    let path = stage.folder.join("step0.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?))
}

/// Tokens of its last training stage.
fn tokens(grown: &Grown) -> Result<Option<u64>> {
    let tokens = |line: &coppice_upcycle::train::metrics::Line| match line {
        coppice_upcycle::train::metrics::Line::Step(step) => Some(step.tokens),
        coppice_upcycle::train::metrics::Line::Validation(_) => None,
    };
    Ok(metrics(grown)?.iter().rev().find_map(tokens))
}
