//! How well each score tells a model's wrong answers from its right ones, and which answers look most made up.

use std::path::Path;

use anyhow::{Context, Result};
use coppice_detect::Record;
use coppice_detect::bench::{Bench, BenchSettings, Row, bench};
use coppice_detect::scores;
use coppice_models::fs::{Existing, write_atomic};
use coppice_models::tokenizer::Tokenizer;
use coppice_reports::data::{Curve2d, Flagged, Interval, Point, ScoreResult, Token};
use serde::{Deserialize, Serialize};

use super::answers::{self, Answered};
use super::questions::is_headline;
use super::recipe::DetectRecipe;
use super::results::Examined;
use crate::jsonl;

const CONFIDENCE: f64 = 0.95;
/// Flagged answers shown.
const SHOWN: usize = 24;

/// The benchmark of all scores on one model's headline answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Judged {
    /// Metrics of every score.
    pub bench: Bench,
}

impl Judged {
    /// The best single-pass score and its AUROC.
    pub fn best(&self) -> Option<(String, f64)> {
        self.bench.best_single_pass().map(|row| (row.score.clone(), row.auroc.estimate))
    }
}

/// Scores all answers (`verdicts.jsonl`) and benchmarks the scores on the headline ones (`bench.json`).
pub fn run(answers: &Path, recipe: &DetectRecipe, folder: &Path) -> Result<()> {
    let answered = answers::read(answers)?;
    let verdicts = answered.iter().map(|answered| coppice_detect::score_record(&answered.record, scores::registry()));
    jsonl::write(&folder.join("verdicts.jsonl"), Existing::Replace, verdicts)?;
    let headline: Vec<Record> =
        answered.into_iter().filter(|answered| is_headline(&answered.question)).map(|answered| answered.record).collect();
    let settings =
        BenchSettings { scores: None, resamples: recipe.resamples, confidence: CONFIDENCE, seed: recipe.seed, ..BenchSettings::default() };
    let judged = Judged { bench: bench(&headline, &settings)? };
    Ok(write_atomic(folder.join("bench.json"), serde_json::to_string(&judged)?.as_bytes())?)
}

/// The benchmark of a finished stage.
pub fn read(folder: &Path) -> Result<Judged> {
    let path = folder.join("bench.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// The table of scores; of several seeds the first is shown, since questions repeat between them.
pub fn scores(examined: &[Examined]) -> Vec<ScoreResult> {
    firsts(examined).flat_map(|model| model.judged.bench.rows.iter().map(|row| result(model, row))).collect()
}

fn result(model: &Examined, row: &Row) -> ScoreResult {
    ScoreResult {
        arm: model.name.clone(),
        score: row.score.clone(),
        auroc: Some(row.auroc.estimate),
        auroc_interval: Some(Interval { low: row.auroc.low, high: row.auroc.high }),
        auc_pr: Some(row.auc_pr.estimate),
        base_rate: Some(model.judged.bench.base_rate),
        prr: Some(row.prr.estimate),
        ece: row.ece.map(|ece| ece.estimate),
        brier: row.brier.map(|brier| brier.estimate),
        cost: row.cost.to_string(),
    }
}

/// One model of each arm: the first seed's.
fn firsts<'a, 'b>(examined: &'a [Examined<'b>]) -> impl Iterator<Item = &'a Examined<'b>> {
    let first = |index: usize| !examined[..index].iter().any(|earlier| earlier.name == examined[index].name);
    examined.iter().enumerate().filter(move |(index, _)| first(*index)).map(|(_, model)| model)
}

/// ROC curves of all scores.
pub fn roc(examined: &[Examined]) -> Vec<Curve2d> {
    curves(examined, |row| &row.roc)
}

/// Risk–coverage curves of all scores.
pub fn risk_coverage(examined: &[Examined]) -> Vec<Curve2d> {
    curves(examined, |row| &row.risk_coverage)
}

fn curves(examined: &[Examined], points: impl Fn(&Row) -> &Vec<(f64, f64)>) -> Vec<Curve2d> {
    let of = |model: &Examined, row: &Row| Curve2d {
        arm: model.name.clone(),
        score: row.score.clone(),
        points: points(row).iter().map(|&(x, y)| Point { x, y }).collect(),
    };
    firsts(examined).flat_map(|model| model.judged.bench.rows.iter().map(|row| of(model, row)).collect::<Vec<_>>()).collect()
}

/// The answers that the best single-pass score finds most suspect, of the first model of every arm in turn.
pub fn flagged(examined: &[Examined], tokenizer: &Tokenizer) -> Result<Vec<Flagged>> {
    let arms = firsts(examined).count().max(1);
    let mut all = Vec::new();
    for model in firsts(examined) {
        let Some((name, _)) = model.judged.best() else { continue };
        let scorer = scores::find(&name)?;
        let score = |answered: &Answered| scorer.score(&coppice_detect::Case::new(&answered.record)).ok();
        let mut ranked: Vec<_> = model.answered.iter().filter_map(|answered| Some((score(answered)?, answered))).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (score, answered) in ranked.into_iter().take(SHOWN / arms) {
            all.push(flag(&model.name, &name, score, answered, tokenizer)?);
        }
    }
    Ok(all)
}

fn flag(arm: &str, name: &str, score: f64, answered: &Answered, tokenizer: &Tokenizer) -> Result<Flagged> {
    let Answered { question, record, .. } = answered;
    Ok(Flagged {
        arm: arm.to_owned(),
        prompt: record.prompt.clone(),
        response: record.response.clone(),
        reference: record.reference.clone(),
        label: record.label,
        group: format!("{}, told {} times", serde_json::to_value(question.group)?.as_str().unwrap_or_default(), question.total_exposures),
        score_name: name.to_owned(),
        score: Some(score),
        tokens: tokens(record, tokenizer)?,
    })
}

/// The response's tokens with their surprise.
fn tokens(record: &Record, tokenizer: &Tokenizer) -> Result<Vec<Token>> {
    let ids: Vec<u32> = record.tokens.iter().flatten().map(|&id| id as u32).collect();
    let texts = tokenizer.pieces(&ids)?;
    let surprise = |place: usize| record.token_logprobs.as_ref().and_then(|logprobs| logprobs.get(place)).map(|logprob| -logprob);
    let entropy = |place: usize| record.token_entropies.as_ref().and_then(|entropies| entropies.get(place)).copied();
    Ok(texts.into_iter().enumerate().map(|(place, text)| Token { text, surprise: surprise(place), entropy: entropy(place) }).collect())
}
