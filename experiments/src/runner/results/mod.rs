//! From finished stages to `results.json` and the report's page.

mod compare;
mod experts;
mod knowledge;
mod methods;
mod training;
mod words;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use coppice_models::tokenizer::Tokenizer;
use coppice_reports::data::SeedResult;
use coppice_reports::{Report, arms_table, methods_table, quality_curve_svg, render_html};
use coppice_upcycle::train::metrics::{Line, read as read_metrics};
use coppice_upcycle::world::{Grade, Group, World};

use super::answers::{Answered, PoolBelief};
use super::cost::Cost;
use super::judge::{self, Judged};
use super::lab::Grown;
use super::questions::is_headline;
use super::recipe::Recipe;
use super::stages::Stages;
use super::{Trained, answers, detector, environment, write_text};

/// Two seeds give a range; from three on, an interval over seeds.
const SEEDS_FOR_INTERVAL: usize = 3;
/// Confidence of every interval.
const CONFIDENCE: f64 = 0.95;

/// What a run's stages left behind.
pub struct Found<'a> {
    /// The world's models.
    pub trained: &'a [Trained],
    /// Those of the real text.
    pub on_text: &'a [Grown],
    /// What each of the world's arms costs.
    pub costs: &'a [Cost],
    /// Folder of the detector's findings, where the recipe asks for them.
    pub detector: Option<&'a Path>,
}

/// One model with everything found out about it.
pub struct Examined<'a> {
    /// Where it came from.
    pub trained: &'a Trained,
    /// Short name of its arm.
    pub name: String,
    /// Its answers.
    pub answered: Vec<Answered>,
    /// Its belief over whole pools.
    pub beliefs: Vec<PoolBelief>,
    /// How well its scores tell right from wrong.
    pub judged: Judged,
    /// Loss on the held-out documents.
    pub validation_loss: Option<f64>,
}

/// Everything the report shows.
pub fn report(recipe: &Recipe, world: &World, run: &Path, stages: &Stages, found: &Found, tokenizer: &Tokenizer) -> Result<Report> {
    let (trained, costs) = (found.trained, found.costs);
    let examined = trained.iter().map(|model| examine(recipe, model)).collect::<Result<Vec<_>>>()?;
    let arms = compare::arms(recipe, &examined, costs);
    let comparisons = compare::comparisons(recipe, &examined)?;
    let checks = words::checks(&examined);
    Ok(Report {
        title: recipe.title.clone(),
        question: recipe.question.clone(),
        summary: words::summary(&arms, &comparisons),
        conventions: costs.first().map(|cost| cost.conventions.join(" ")).unwrap_or_default(),
        recipe_toml: std::fs::read_to_string(run.join("recipe.toml")).context("recipe.toml of the run")?,
        environment: environment::read(run)?,
        reproduce: vec!["make setup".into(), format!("cargo run --release -- run experiments/recipes/{}.toml", recipe.name)],
        stages: stages.log.clone(),
        checks,
        verdicts: compare::verdicts(recipe, &examined)?,
        curves: training::curves(&examined)?,
        experts: experts::experts(found)?,
        methods: if recipe.methods { methods::methods(recipe, &examined, found)? } else { Vec::new() },
        knowledge: knowledge::knowledge(recipe, &examined),
        scores: judge::scores(&examined),
        roc: judge::roc(&examined),
        risk_coverage: judge::risk_coverage(&examined),
        detector: found.detector.map(detector::read).transpose()?,
        flagged: judge::flagged(&examined, tokenizer)?,
        notes: words::notes(recipe, world, &examined),
        limits: words::limits(recipe, world),
        arms,
        comparisons,
        expert_load: Vec::new(), // the look at the experts shows it
    })
}

fn examine<'a>(recipe: &Recipe, trained: &'a Trained) -> Result<Examined<'a>> {
    let name = trained.grown.arm.map_or_else(|| "base".to_owned(), |arm| recipe.arms[arm].name.clone());
    Ok(Examined {
        trained,
        name,
        answered: answers::read(&trained.answers)?,
        beliefs: answers::read_beliefs(&trained.answers)?,
        judged: judge::read(&trained.verdicts)?,
        validation_loss: final_loss(&trained.grown)?,
    })
}

fn metrics(grown: &Grown) -> Result<Vec<Line>> {
    Ok(read_metrics(&grown.train.folder.join("metrics.jsonl"))?)
}

/// The last measured loss on held-out documents.
fn final_loss(grown: &Grown) -> Result<Option<f64>> {
    let loss = |line: &Line| if let Line::Validation(found) = line { Some(found.validation.loss) } else { None };
    Ok(metrics(grown)?.iter().rev().find_map(loss))
}

impl Examined<'_> {
    /// Answers that headline figures count.
    pub fn headline(&self) -> impl Iterator<Item = &Answered> {
        self.answered.iter().filter(|answered| is_headline(&answered.question))
    }

    fn share(&self, counts: impl Fn(&Answered) -> bool, of: impl Fn(&Answered) -> bool) -> Option<f64> {
        let all: Vec<_> = self.headline().filter(|answered| of(answered)).collect();
        (!all.is_empty()).then(|| all.iter().filter(|answered| counts(answered)).count() as f64 / all.len() as f64)
    }

    fn seed_result(&self) -> SeedResult {
        SeedResult {
            seed: self.trained.grown.seed,
            validation_loss: self.validation_loss,
            facts_known: self.share(|answered| answered.grade == Grade::Correct, |answered| answered.question.group == Group::Known),
            made_up: self.share(|answered| !matches!(answered.grade, Grade::Correct | Grade::Abstained), |_| true),
            best_auroc: self.judged.best().map(|best| best.1),
            best_score: self.judged.best().map(|best| best.0),
        }
    }
}

/// Writes `results.json` and `report/index.html`; returns the page's path.
pub fn write(run: &Path, report: &Report) -> Result<PathBuf> {
    write_text(&run.join("results.json"), &serde_json::to_string_pretty(report)?)?;
    page(run, report)
}

/// Writes the page of a report.
pub fn page(run: &Path, report: &Report) -> Result<PathBuf> {
    let folder = run.join("report");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let page = folder.join("index.html");
    write_text(&page, &render_html(report)?)?;
    write_text(&folder.join("quality.svg"), &quality_curve_svg(report)?)?;
    Ok(page)
}

/// A few lines for the terminal.
pub fn headline(report: &Report) -> Vec<String> {
    let checks = report.checks.iter().map(|check| {
        let verdict = if check.passed { "holds" } else { "FAILS" };
        format!("{verdict}: {} {} (found {})", check.name, check.expected, check.found)
    });
    let methods = (!report.methods.is_empty()).then(|| methods_table(report));
    report.summary.iter().cloned().chain(checks).chain([arms_table(report)]).chain(methods).collect()
}
