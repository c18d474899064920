//! From labelled scores to a calibrator: choose and fit on one part of the responses, judge and set the thresholds on the other.

use super::judged::Resampling;
use super::select::{Selection, best, known};
use super::split::{one_of_each, two_parts};
use super::{Calibration, CalibrationError, Calibrator, Candidate, Judged, Method, Threshold, Thresholds, Trial, VERSION};
use crate::drift::Reference;
use crate::guarantee::{Certified, Control, candidates, control_risk, selective_risk};
use crate::metrics::{Groups, MetricError};

/// How to calibrate.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Methods to choose among.
    pub methods: Vec<Method>,
    /// Which share the thresholds keep small.
    pub control: Control,
    /// The largest share of wrong responses among those accepted, and of right ones among those flagged (see [`Control`]).
    pub alpha: f64,
    /// How surely the selective risk keeps to it, and the confidence of the intervals.
    pub confidence: f64,
    /// Flag from this probability on, without a promise, instead.
    pub flag: Option<f64>,
    /// Share of the responses to fit on.
    pub split: f64,
    /// Folds of the choice.
    pub folds: usize,
    /// Bootstrap resamples of the intervals.
    pub resamples: usize,
    /// Seeds split, folds, resamples and the draw of one response of each group.
    pub seed: u64,
}

impl Default for Settings {
    /// All methods, selective risk at most 10 % with confidence 90 %, halves, five folds, 1,000 resamples, seed 0.
    fn default() -> Self {
        let (methods, control) = (Method::ALL.to_vec(), Control::default());
        Self { methods, control, alpha: 0.1, confidence: 0.9, flag: None, split: 0.5, folds: 5, resamples: 1000, seed: 0 }
    }
}

/// A calibrator and how it came to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibrated {
    /// The calibrator; its `judged` is filled in.
    pub calibrator: Calibrator,
    /// Every pair of score and method, in the order tried.
    pub trials: Vec<Trial>,
    /// Responses fitted on, those without the score not counted.
    pub fitted_on: usize,
}

/// Calibrates on two parts of the responses, drawn by whole groups.
///
/// # Errors
/// As [`calibrate_parts`]; a share to fit on that is none.
pub fn calibrate(scores: &[Candidate], wrong: &[bool], groups: &Groups, settings: &Settings) -> Result<Calibrated, CalibrationError> {
    check(scores, wrong, groups, settings)?;
    calibrate_parts(scores, wrong, groups, &two_parts(groups, settings.split, settings.seed), settings)
}

/// Calibrates. Score and method are chosen by cross-validation within the first part alone, by Brier score, and fitted to it; the second part
/// judges them and sets the thresholds, whose promises rest on one response of each of its groups. `parts` are places in `wrong`; no group
/// should lie in both.
///
/// # Errors
/// Labels that do not match the scores, a setting outside its range, a part with no response or one class only, no pair that could be fitted.
pub fn calibrate_parts(
    scores: &[Candidate],
    wrong: &[bool],
    groups: &Groups,
    (fit, judge): &(Vec<usize>, Vec<usize>),
    settings: &Settings,
) -> Result<Calibrated, CalibrationError> {
    check(scores, wrong, groups, settings)?;
    if let Some(&item) = fit.iter().chain(judge).find(|&&item| item >= wrong.len()) {
        return Err(MetricError::Lengths { scores: item + 1, labels: wrong.len() }.into());
    }
    let selection = Selection::new(wrong, &groups.within(fit), fit, settings.folds, settings.seed);
    let trials = selection.trials(scores, &settings.methods);
    let (score, method) = best(&trials).map(|trial| (trial.score.clone(), trial.method))?;
    let candidate = scores.iter().find(|candidate| candidate.score == score).ok_or(MetricError::Empty)?;
    let (fit_scores, fit_wrong) = known(candidate, wrong, fit);
    let calibration = Calibration::fit(method, &fit_scores, &fit_wrong)?;
    let reference = Some(Reference::new(&fit_scores)?);
    let held_out = HeldOut::new(candidate, wrong, groups, judge, &calibration);
    let others = fit_scores.iter().map(|&score| calibration.probability(score)).collect();
    let thresholds = held_out.thresholds(&Part { probabilities: others, wrong: fit_wrong }, settings)?;
    let judged = Some(held_out.judged(judge.len(), &thresholds, settings)?);
    let calibrator = Calibrator { version: VERSION, score, calibration, thresholds, reference, judged, source: None, setup: None };
    Ok(Calibrated { calibrator, trials, fitted_on: fit_scores.len() })
}

fn check(scores: &[Candidate], wrong: &[bool], groups: &Groups, settings: &Settings) -> Result<(), MetricError> {
    let setting = |name, value, expected| Err(MetricError::Setting { name, value, expected });
    let lengths = scores.iter().map(|candidate| candidate.values.len()).chain([groups.n_items()]);
    match lengths.into_iter().find(|&length| length != wrong.len()) {
        Some(length) => Err(MetricError::Lengths { scores: length, labels: wrong.len() }),
        None if wrong.is_empty() => Err(MetricError::Empty),
        None if !(settings.split > 0.0 && settings.split < 1.0) => setting("split", settings.split, "a number between 0 and 1"),
        None if settings.folds < 2 => setting("folds", settings.folds as f64, "at least 2"),
        None if settings.flag.is_some_and(|flag| !(0.0..=1.0).contains(&flag)) => {
            setting("flag", settings.flag.unwrap_or_default(), "a number from 0 to 1")
        }
        None => Ok(()),
    }
}

/// The judged part: probabilities that were not fitted on it.
struct HeldOut {
    probabilities: Vec<f64>,
    wrong: Vec<bool>,
    groups: Groups,
}

impl HeldOut {
    fn new(candidate: &Candidate, wrong: &[bool], groups: &Groups, items: &[usize], calibration: &Calibration) -> Self {
        let items: Vec<usize> = items.iter().copied().filter(|&item| candidate.values[item].is_some()).collect();
        let (scores, wrong) = known(candidate, wrong, &items);
        Self { probabilities: scores.iter().map(|&score| calibration.probability(score)).collect(), wrong, groups: groups.within(&items) }
    }

    /// The largest set that may be accepted, then the largest one above it that may be flagged. `others` is the fitted part.
    fn thresholds(&self, others: &Part, settings: &Settings) -> Result<Thresholds, CalibrationError> {
        let drawn = one_of_each(&self.groups, settings.seed);
        let (probabilities, wrong) = drawn.iter().map(|&item| (self.probabilities[item], self.wrong[item])).unzip();
        let tested = Part { probabilities, wrong };
        let accept = certified(&tested, others, 1.0, settings)?.pop().map(|set| threshold(set, set.threshold));
        if let Some(probability) = settings.flag {
            return parted(accept, Threshold { probability, guarantee: None });
        }
        let above_accepted = accept.map_or(0.0, |accept| accept.probability.next_up());
        let flag = certified(&tested.opposite(), &others.opposite(), -above_accepted, settings)?.pop();
        Ok(Thresholds { accept, flag: flag.filter(|_| above_accepted <= 1.0).map(|set| threshold(set, -set.threshold)) })
    }

    fn judged(&self, of: usize, thresholds: &Thresholds, settings: &Settings) -> Result<Judged, MetricError> {
        let Settings { resamples, confidence, seed, .. } = *settings;
        let resampling = Resampling { resamples, confidence, seed };
        Judged::new(&self.probabilities, &self.wrong, &self.groups, of - self.wrong.len(), thresholds, resampling)
    }
}

/// Probabilities, and whether they came true.
struct Part {
    probabilities: Vec<f64>,
    wrong: Vec<bool>,
}

impl Part {
    /// Seen from the other end: the most suspect come first, and what fails is a right response.
    fn opposite(&self) -> Self {
        Self { probabilities: self.probabilities.iter().map(|p| -p).collect(), wrong: self.wrong.iter().map(|wrong| !wrong).collect() }
    }
}

/// The sets that keep the promise and do not pass `limit`, the largest last.
fn certified(tested: &Part, others: &Part, limit: f64, settings: &Settings) -> Result<Vec<Certified>, MetricError> {
    let Settings { alpha, confidence, .. } = *settings;
    let Part { probabilities, wrong } = tested;
    match settings.control {
        Control::JointRisk => Ok(control_risk(probabilities, wrong, alpha, limit)?.into_iter().collect()),
        Control::SelectiveRisk => {
            let thresholds = candidates(&others.probabilities, &others.wrong, wrong.len(), alpha, confidence)?;
            let mut sets = selective_risk(probabilities, wrong, &thresholds, alpha, confidence)?;
            sets.retain(|set| set.threshold <= limit);
            Ok(sets)
        }
    }
}

fn threshold(set: Certified, probability: f64) -> Threshold {
    Threshold { probability, guarantee: Some(set.guarantee) }
}

/// Refuses a flag by hand that lies in the accepted set.
fn parted(accept: Option<Threshold>, flag: Threshold) -> Result<Thresholds, CalibrationError> {
    match accept {
        Some(accept) if accept.probability >= flag.probability => {
            Err(CalibrationError::Thresholds { accept: accept.probability, flag: flag.probability })
        }
        _ => Ok(Thresholds { accept, flag: Some(flag) }),
    }
}
