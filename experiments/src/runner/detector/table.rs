//! Every score on the answers that no fit has seen, and on each group's answers against the right ones.

use std::collections::BTreeMap;

use anyhow::Result;
use coppice_detect::metrics::{self, Groups};
use coppice_detect::scores::{Scorer, registry};
use coppice_reports::data::{DetectorGroup, DetectorScore};
use coppice_upcycle::world::Group;

use super::super::questions::is_headline;
use super::calibrated::{CONFIDENCE, interval};
use super::scored::Scored;

/// The column of what was learnt wrong.
pub const FALSEHOOD: &str = "falsehood told";

/// Some answers, to be told apart from right ones.
pub struct Column<'a> {
    /// What they are.
    pub group: DetectorGroup,
    answers: Vec<&'a Scored>,
}

/// Made-up answers by how often the person was told of, then what was learnt from contradictions and falsehoods.
pub fn columns<'a>(answers: &[&'a Scored]) -> Vec<Column<'a>> {
    let mut told: Vec<usize> = headline(answers).map(|answer| answer.question.total_exposures).collect();
    told.sort_unstable();
    told.dedup();
    let level = |total: usize| {
        let name = if total == 0 { "never told".to_owned() } else { format!("told {total} x") };
        let meaning = format!("wrong answers about people the text told of {total} times");
        column(name, meaning, headline(answers).filter(|answer| answer.wrong && answer.question.total_exposures == total))
    };
    let planted = |group: Group| answers.iter().copied().filter(move |answer| answer.question.group == group && answer.told);
    let ambiguous = "one of two contradictory values of the text, which count as right; above 0.5 the contradiction shows";
    let falsehoods = "falsehoods that the text told consistently and the model repeats";
    let planted = [
        column("two values told".to_owned(), ambiguous.to_owned(), planted(Group::Ambiguous)),
        column(FALSEHOOD.to_owned(), falsehoods.to_owned(), planted(Group::Wrong)),
    ];
    told.into_iter().map(level).chain(planted).collect()
}

fn headline<'a>(answers: &[&'a Scored]) -> impl Iterator<Item = &'a Scored> {
    answers.iter().copied().filter(|answer| is_headline(&answer.question))
}

fn column<'a>(name: String, meaning: String, answers: impl Iterator<Item = &'a Scored>) -> Column<'a> {
    let answers: Vec<&Scored> = answers.collect();
    Column { group: DetectorGroup { name, meaning, answers: answers.len() }, answers }
}

/// The rows of scores that told right from wrong, the best first, and why the others have none.
pub fn rows(answers: &[&Scored], columns: &[Column], resamples: usize, seed: u64) -> (Vec<DetectorScore>, Vec<(String, String)>) {
    let (mut rows, mut skipped) = (Vec::new(), Vec::new());
    for scorer in registry() {
        match row(*scorer, answers, columns, resamples, seed) {
            Ok(row) => rows.push(row),
            Err(error) => skipped.push((scorer.name().to_owned(), reason(scorer.name(), answers).unwrap_or_else(|| error.to_string()))),
        }
    }
    rows.sort_by(|a, b| b.auroc.unwrap_or(f64::NAN).total_cmp(&a.auroc.unwrap_or(f64::NAN)));
    (rows, skipped)
}

fn row(scorer: &dyn Scorer, answers: &[&Scored], columns: &[Column], resamples: usize, seed: u64) -> Result<DetectorScore> {
    let (name, of) = (scorer.name(), headline(answers).collect::<Vec<_>>());
    let (scores, wrong) = valued(name, of.iter().copied());
    let people = of.iter().filter(|answer| answer.scores.contains_key(name)).map(|answer| &answer.question.person);
    let auroc = |drawn: &[usize]| {
        let (scores, wrong): (Vec<f64>, Vec<bool>) = drawn.iter().map(|&item| (scores[item], wrong[item])).unzip();
        metrics::auroc(&scores, &wrong).ok()
    };
    let estimate = metrics::auroc(&scores, &wrong)?;
    let found = metrics::cluster_bootstrap(&Groups::new(people), resamples, CONFIDENCE, seed, auroc)?;
    Ok(DetectorScore {
        score: name.to_owned(),
        cost: scorer.card().cost.to_string(),
        answers: scores.len(),
        auroc: Some(estimate),
        auroc_interval: Some(interval(found)),
        prr: metrics::prr(&scores, &wrong, 1.0).ok(),
        groups: columns.iter().map(|column| against_right(name, &column.answers, &of)).collect(),
    })
}

/// AUROC of some answers against the right ones among `headline`.
fn against_right(name: &str, some: &[&Scored], headline: &[&Scored]) -> Option<f64> {
    let (suspect, _) = valued(name, some.iter().copied());
    let (right, _) = valued(name, headline.iter().copied().filter(|answer| !answer.wrong));
    let labels = [vec![true; suspect.len()], vec![false; right.len()]].concat();
    metrics::auroc(&[suspect, right].concat(), &labels).ok()
}

fn valued<'a>(name: &str, answers: impl Iterator<Item = &'a Scored>) -> (Vec<f64>, Vec<bool>) {
    answers.filter_map(|answer| Some((*answer.scores.get(name)?, answer.wrong))).unzip()
}

/// What most answers lack for a score.
fn reason(name: &str, answers: &[&Scored]) -> Option<String> {
    let mut counts = BTreeMap::<&str, usize>::new();
    headline(answers).filter_map(|answer| answer.missing.get(name)).for_each(|lacks| *counts.entry(lacks).or_default() += 1);
    counts.into_iter().max_by_key(|&(_, count)| count).map(|(lacks, _)| format!("lacks {lacks}"))
}
