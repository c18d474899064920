//! From finished stages to `results.json` and the report's page.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use coppice_detect::metrics::{binomial_interval, paired_bootstrap, student_t};
use coppice_models::tokenizer::Tokenizer;
use coppice_reports::data::{Arm, Check, Comparison, Curve, CurvePoint, ExpertLoad, Interval, Knowledge, Measure, Role, SeedResult};
use coppice_reports::{Report, arms_table, quality_curve_svg, render_html};
use coppice_upcycle::train::metrics::{Line, read as read_metrics};
use coppice_upcycle::world::{Grade, Group, World};

use super::answers::{Answered, PoolBelief};
use super::cost::Cost;
use super::judge::{self, Judged};
use super::questions::is_headline;
use super::recipe::Recipe;
use super::stages::Stages;
use super::{Trained, answers, environment, write_text};

/// Two seeds give a range; from three on, an interval over seeds.
const SEEDS_FOR_INTERVAL: usize = 3;
/// Confidence of every interval.
const CONFIDENCE: f64 = 0.95;

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
pub fn report(
    recipe: &Recipe,
    world: &World,
    run: &Path,
    stages: &Stages,
    trained: &[Trained],
    costs: &[Cost],
    tokenizer: &Tokenizer,
) -> Result<Report> {
    let examined = trained.iter().map(|model| examine(recipe, model)).collect::<Result<Vec<_>>>()?;
    let arms = arms(recipe, &examined, costs);
    let comparisons = comparisons(recipe, &examined)?;
    let checks = checks(&examined);
    Ok(Report {
        title: recipe.title.clone(),
        question: recipe.question.clone(),
        summary: summary(&arms, &comparisons),
        conventions: costs.first().map(|cost| cost.conventions.join(" ")).unwrap_or_default(),
        recipe_toml: std::fs::read_to_string(run.join("recipe.toml")).context("recipe.toml of the run")?,
        environment: environment::read(run)?,
        reproduce: vec!["make setup".into(), format!("cargo run --release -- run experiments/recipes/{}.toml", recipe.name)],
        stages: stages.log.clone(),
        checks,
        curves: curves(&examined)?,
        expert_load: expert_load(&examined)?,
        knowledge: knowledge(recipe, &examined),
        scores: judge::scores(&examined),
        roc: judge::roc(&examined),
        risk_coverage: judge::risk_coverage(&examined),
        flagged: judge::flagged(&examined, tokenizer)?,
        notes: notes(recipe, world, &examined),
        limits: limits(recipe),
        arms,
        comparisons,
    })
}

fn examine<'a>(recipe: &Recipe, trained: &'a Trained) -> Result<Examined<'a>> {
    let name = trained.arm.map_or_else(|| "base".to_owned(), |arm| recipe.arms[arm].name.clone());
    let lines = metrics(trained)?;
    let last = lines.iter().rev().find_map(|line| if let Line::Validation(found) = line { Some(found.validation.loss) } else { None });
    Ok(Examined {
        trained,
        name,
        answered: answers::read(&trained.answers)?,
        beliefs: answers::read_beliefs(&trained.answers)?,
        judged: judge::read(&trained.verdicts)?,
        validation_loss: last,
    })
}

fn metrics(trained: &Trained) -> Result<Vec<Line>> {
    Ok(read_metrics(&trained.train.folder.join("metrics.jsonl"))?)
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
            seed: self.trained.seed,
            validation_loss: self.validation_loss,
            facts_known: self.share(|answered| answered.grade == Grade::Correct, |answered| answered.question.group == Group::Known),
            made_up: self.share(|answered| !matches!(answered.grade, Grade::Correct | Grade::Abstained), |_| true),
            best_auroc: self.judged.best().map(|best| best.1),
            best_score: self.judged.best().map(|best| best.0),
        }
    }
}

fn arms(recipe: &Recipe, examined: &[Examined], costs: &[Cost]) -> Vec<Arm> {
    costs.iter().map(|cost| arm(recipe, examined, cost)).collect()
}

fn arm(recipe: &Recipe, examined: &[Examined], cost: &Cost) -> Arm {
    let settings = cost.arm.map(|arm| &recipe.arms[arm]);
    let seeds: Vec<SeedResult> = examined.iter().filter(|model| model.trained.arm == cost.arm).map(Examined::seed_result).collect();
    Arm {
        name: settings.map_or_else(|| "base".into(), |arm| arm.name.clone()),
        label: settings.map_or_else(|| "dense, before continuing".into(), |arm| arm.label.clone()),
        role: match settings {
            None => Role::Base,
            Some(arm) if arm.upcycle.is_none() => Role::Control,
            Some(_) => Role::Upcycled,
        },
        parameters: Some(cost.parameters),
        active_parameters: Some(cost.active_parameters),
        flops_per_token: Some(cost.flops_per_token),
        bytes_per_token: Some(cost.bytes_per_token),
        latency_ms: Some(cost.latency_ms),
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
fn comparisons(recipe: &Recipe, examined: &[Examined]) -> Result<Vec<Comparison>> {
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

fn curves(examined: &[Examined]) -> Result<Vec<Curve>> {
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
fn expert_load(examined: &[Examined]) -> Result<Vec<ExpertLoad>> {
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

/// A group of people as the knowledge table shows it: arm, group, exposures in each pass and in all.
type Stratum = (String, Group, usize, usize);

/// What every arm knows about every group of people, over all its seeds.
fn knowledge(recipe: &Recipe, examined: &[Examined]) -> Vec<Knowledge> {
    let mut counts: BTreeMap<Stratum, (u64, u64)> = BTreeMap::new();
    for model in examined {
        // The pre-trained model has not seen the passes of the continuation.
        let passes = if model.trained.arm.is_none() { recipe.pretrain.passes } else { recipe.world.passes };
        for Answered { question, grade, .. } in &model.answered {
            let per_pass = if is_headline(question) { question.exposures_per_pass } else { 0 };
            let told = (per_pass, per_pass * passes);
            let count = counts.entry((model.name.clone(), question.group, told.0, told.1)).or_default();
            count.0 += u64::from(*grade == Grade::Correct);
            count.1 += 1;
        }
    }
    counts.into_iter().map(|(stratum, counts)| knowledge_row(examined, stratum, counts)).collect()
}

fn knowledge_row(examined: &[Examined], (arm, group, per_pass, exposures): Stratum, (right, all): (u64, u64)) -> Knowledge {
    let label = match group {
        Group::Known => format!("told {exposures} times"),
        Group::Never => "never told".into(),
        Group::Ambiguous => "told two conflicting lives (either is right)".into(),
        Group::Wrong => "told falsely (judged by the truth)".into(),
    };
    let beliefs = examined.iter().filter(|model| model.name == arm).flat_map(|model| &model.beliefs);
    let entropy = mean_ratio(beliefs.filter(|belief| belief.group == group && belief.exposures_per_pass == per_pass));
    let interval = binomial_interval(right, all, CONFIDENCE).ok().map(|found| Interval { low: found.low, high: found.high });
    let exposures = matches!(group, Group::Known | Group::Never).then_some(exposures as u64);
    Knowledge { arm, group: label, exposures, questions: all, correct: Some(right as f64 / all as f64), interval, entropy }
}

/// Mean of entropy over ln(pool size).
fn mean_ratio<'a>(beliefs: impl Iterator<Item = &'a PoolBelief>) -> Option<f64> {
    let ratios: Vec<f64> = beliefs.map(|belief| belief.entropy / (belief.pool_size as f64).ln()).collect();
    (!ratios.is_empty()).then(|| ratios.iter().sum::<f64>() / ratios.len() as f64)
}

/// What the run asserts about the pre-trained model and every arm.
fn checks(examined: &[Examined]) -> Vec<Check> {
    let ratio = |group: Group| mean_ratio(examined.iter().flat_map(|model| &model.beliefs).filter(|belief| belief.group == group));
    let worst = examined.iter().filter_map(|model| model.judged.best().map(|best| (best.1, best.0, &model.name)));
    let worst = worst.min_by(|a, b| a.0.total_cmp(&b.0));
    let check = |name: &str, expected: &str, found: Option<f64>, holds: &dyn Fn(f64) -> bool| Check {
        name: name.into(),
        expected: expected.into(),
        found: found.map_or_else(|| "not measured".into(), |found| format!("{found:.3}")),
        passed: found.is_some_and(holds),
    };
    vec![
        check(
            "Entropy over the pool's answers, people never told, mean of all models / ln(pool)",
            "at least 0.85",
            ratio(Group::Never),
            &|found| found >= 0.85,
        ),
        check("The same, people told most often", "at most 0.2", ratio(Group::Known), &|found| found <= 0.2),
        Check {
            name: "AUROC of the best single-pass score, worst of all models".into(),
            expected: "at least 0.90".into(),
            found: worst.as_ref().map_or_else(|| "not measured".into(), |(auroc, score, arm)| format!("{auroc:.3} ({score}, {arm})")),
            passed: worst.is_some_and(|worst| worst.0 >= 0.90),
        },
    ]
}

/// The answer in sentences; the first is the headline.
fn summary(arms: &[Arm], comparisons: &[Comparison]) -> Vec<String> {
    let label = |name: &str| arms.iter().find(|arm| arm.name == name).map_or(name.to_owned(), |arm| arm.label.clone());
    let mut sentences: Vec<String> = comparisons.iter().filter_map(|comparison| verdict(comparison, &label(&comparison.arm))).collect();
    let best = arms
        .iter()
        .flat_map(|arm| &arm.seeds)
        .filter_map(|seed| seed.best_auroc)
        .fold((f64::INFINITY, 0.0_f64), |(low, high), found| (low.min(found), high.max(found)));
    if best.0.is_finite() {
        sentences.push(format!(
            "The best single-pass score tells wrong from right answers with an AUROC of {:.3} to {:.3}, depending on the model.",
            best.0, best.1
        ));
    }
    sentences
}

fn verdict(comparison: &Comparison, label: &str) -> Option<String> {
    let (difference, interval) = (comparison.difference? * 100.0, comparison.interval?);
    let (low, high) = (interval.low * 100.0, interval.high * 100.0);
    let finding = if low > 0.0 {
        "knows more than the dense control continued on the same tokens"
    } else if high < 0.0 {
        "knows less than the dense control continued on the same tokens"
    } else {
        "cannot be told from the dense control continued on the same tokens"
    };
    Some(format!(
        "{label} {finding}: {difference:+.1} points of facts known (95 % interval {low:+.1} to {high:+.1}, paired over questions)."
    ))
}

fn notes(recipe: &Recipe, world: &World, examined: &[Examined]) -> Vec<String> {
    let parameters = recipe.model.num_hidden_layers as f64
        * (4.0 * (recipe.model.hidden_size as f64).powi(2) + 3.0 * recipe.model.hidden_size as f64 * recipe.model.intermediate_size as f64);
    let density = world.demanded_bits() / parameters;
    let planted = examined.first().map_or(0, |model| model.answered.len() - model.headline().count());
    vec![
        format!("The world demands {:.0} bits of facts, {density:.2} per non-embedding parameter of the dense model; about 2 can be stored (arXiv 2404.05405).", world.demanded_bits()),
        format!("{planted} questions a model are about planted people (conflicting or false biographies); headline figures leave them out, the knowledge table has them."),
        "Questions are about people whose questions were never in training, only their biographies; answers are graded by exact match with the true table.".into(),
        "Entropy over the pool: the probabilities of all answers of the question's pool, normalised over the pool, against ln(pool size).".into(),
        "Seeds change the routers' initial weights and the order of the batches in continued training; dense pre-training is shared.".into(),
    ]
}

fn limits(recipe: &Recipe) -> Vec<String> {
    let mut limits = vec![
        "A small model on a synthetic world: the shape of the comparison carries over to StableLM 2 1.6B, the figures do not.".to_owned(),
    ];
    if recipe.seeds.len() < SEEDS_FOR_INTERVAL {
        limits.push(format!("{} seeds give a range, no interval over seeds; intervals are over questions.", recipe.seeds.len()));
    }
    let layers = recipe.model.num_hidden_layers;
    limits.push(format!("With {layers} layers and few exposures the demo is limited by how often facts are told, not by how many the model could hold, so extra experts have little to add here."));
    limits
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
    report.summary.iter().cloned().chain(checks).chain([arms_table(report)]).collect()
}
