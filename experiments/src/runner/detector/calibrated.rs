//! The calibrated verdict: chosen and fitted on some people of every exposure level, judged on the others.

use anyhow::Result;
use coppice_detect::calibration::{Calibrator, Candidate, Judged, Method, Settings, calibrate_parts};
use coppice_detect::metrics::{Bin, Groups};
use coppice_detect::scores::{LENGTH, registry};
use coppice_reports::data::{Calibrated, Guarantee, Interval, ReliabilityBin};

use super::super::recipe::DetectorRecipe;
use super::coverage::{Pool, coverage};
use super::parting::some_people;
use super::scored::Scored;

/// Confidence of the page's intervals.
pub(super) const CONFIDENCE: f64 = 0.95;

/// Calibrates on the answers about headline people whom no learned score was fitted on.
pub fn calibrated(answers: &[&Scored], recipe: &DetectorRecipe, resamples: usize) -> Result<(Calibrator, Calibrated)> {
    let wrong: Vec<bool> = answers.iter().map(|answer| answer.wrong).collect();
    let groups = Groups::new(answers.iter().map(|answer| &answer.question.person));
    let people = some_people(answers.iter().map(|answer| &answer.question), recipe.calibration_share, recipe.seed, "to calibrate on");
    let parts = (0..answers.len()).partition(|&item| people.contains(&answers[item].question.person));
    let calibrator = calibrate_parts(&candidates(answers), &wrong, &groups, &parts, &settings(recipe, resamples))?.calibrator;
    let shown = shown(answers, &calibrator, &groups, &parts, recipe)?;
    Ok((calibrator, shown))
}

fn settings(recipe: &DetectorRecipe, resamples: usize) -> Settings {
    let &DetectorRecipe { alpha, confidence, seed, .. } = recipe;
    Settings { methods: Method::ALL.to_vec(), alpha, confidence, resamples, seed, ..Settings::default() }
}

fn candidates(answers: &[&Scored]) -> Vec<Candidate> {
    let names = registry().iter().map(|scorer| scorer.name()).filter(|&name| name != LENGTH);
    let values = |name: &str| answers.iter().map(|answer| answer.scores.get(name).copied()).collect();
    names.map(|name| Candidate { score: name.to_owned(), values: values(name) }).collect()
}

fn shown(
    answers: &[&Scored],
    calibrator: &Calibrator,
    groups: &Groups,
    (fit, judge): &(Vec<usize>, Vec<usize>),
    recipe: &DetectorRecipe,
) -> Result<Calibrated> {
    let counted = |items: &[usize]| (groups.within(items).len(), items.len());
    let judged = calibrator.judged.as_ref();
    let parts = [Pool::new(answers, fit, calibrator), Pool::new(answers, judge, calibrator)];
    Ok(Calibrated {
        score: calibrator.score.clone(),
        method: calibrator.calibration.method().to_string(),
        fitted_on: counted(fit),
        judged_on: counted(judge),
        auroc: judged.and_then(|judged| judged.auroc).map(|auroc| auroc.estimate),
        auroc_interval: judged.and_then(|judged| judged.auroc).map(interval),
        ece: judged.map(|judged| judged.ece.estimate),
        ece_interval: judged.map(|judged| interval(judged.ece)),
        brier: judged.map(|judged| judged.brier.estimate),
        bins: judged.map_or_else(Vec::new, |judged| judged.reliability.iter().map(bin).collect()),
        guarantee: judged.map(|judged| guarantee(calibrator, judged, recipe)),
        coverage: Some(coverage(&parts, recipe)?),
    })
}

pub(super) fn interval(of: coppice_detect::metrics::Interval) -> Interval {
    Interval { low: of.low, high: of.high }
}

fn bin(bin: &Bin) -> ReliabilityBin {
    ReliabilityBin { predicted: Some(bin.mean_probability), wrong: Some(bin.share_wrong), answers: bin.items }
}

fn guarantee(calibrator: &Calibrator, judged: &Judged, recipe: &DetectorRecipe) -> Guarantee {
    let share = |part: usize, of: usize| (of > 0).then(|| part as f64 / of as f64);
    Guarantee {
        alpha: recipe.alpha,
        confidence: recipe.confidence,
        n: calibrator.thresholds.accept.and_then(|accept| accept.guarantee).map_or(judged.groups, |guarantee| guarantee.n),
        accepted: share(judged.accepted.responses, judged.n),
        wrong_among_accepted: share(judged.accepted.wrong, judged.accepted.responses),
        wrong_among_all: Some(judged.base_rate),
    }
}
