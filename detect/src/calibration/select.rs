//! Which score and which method: the pair whose probabilities are best on folds they were not fitted on, within the fitted part.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Calibration, CalibrationError, Method};
use crate::learn::folds::folds;
use crate::metrics::{Groups, MetricError};
use crate::record::Record;
use crate::scores::{Case, Scorer};
use crate::setup::Setup;
use crate::verdict::unseen_score;

/// A score that may be chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its name.
    pub score: String,
    /// Its value for every response; `None` where it could not be computed.
    pub values: Vec<Option<f64>>,
}

impl Candidate {
    /// Computes the scores of records, in parallel; those of one record share what they compare.
    pub fn all(records: &[&Record], scorers: &[&dyn Scorer], setup: &Setup) -> Vec<Self> {
        let row = |record: &&Record| {
            let case = Case::with(record, setup);
            scorers.iter().map(|scorer| unseen_score(*scorer, &case).ok()).collect::<Vec<_>>()
        };
        let rows: Vec<Vec<Option<f64>>> = records.par_iter().map(row).collect();
        let values = |column: usize| rows.iter().map(|row| row[column]).collect();
        scorers.iter().enumerate().map(|(column, scorer)| Self { score: scorer.name().to_owned(), values: values(column) }).collect()
    }
}

/// How a score and a method did in cross-validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The score.
    pub score: String,
    /// The method.
    pub method: Method,
    /// Brier score on the folds not fitted on; `None` where a fold could not be fitted. A response without the score counts with the share
    /// wrong among the fitted.
    pub brier: Option<f64>,
    /// Why a fold could not be fitted.
    pub failure: Option<String>,
}

/// The items a choice is made on.
pub(super) struct Selection<'a> {
    pub(super) wrong: &'a [bool],
    pub(super) folds: Vec<Vec<usize>>,
}

impl<'a> Selection<'a> {
    /// Parts the items of `part` into folds, groups staying whole.
    pub(super) fn new(wrong: &'a [bool], groups_of_part: &Groups, part: &[usize], n_folds: usize, seed: u64) -> Self {
        let wrong_of_part: Vec<bool> = part.iter().map(|&item| wrong[item]).collect();
        let mut parted = vec![Vec::new(); n_folds.min(groups_of_part.len()).max(1)];
        let fold_of = folds(groups_of_part, &wrong_of_part, parted.len(), seed);
        part.iter().zip(fold_of).for_each(|(&item, fold)| parted[fold].push(item));
        Self { wrong, folds: parted }
    }

    /// Tries every pair, in parallel, in the order given.
    pub(super) fn trials(&self, candidates: &[Candidate], methods: &[Method]) -> Vec<Trial> {
        let pairs: Vec<(&Candidate, Method)> =
            candidates.iter().flat_map(|candidate| methods.iter().map(move |&method| (candidate, method))).collect();
        let trial = |&(candidate, method): &(&Candidate, Method)| {
            let brier = self.brier(candidate, method);
            let failure = brier.as_ref().err().map(ToString::to_string);
            Trial { score: candidate.score.clone(), method, brier: brier.ok(), failure }
        };
        pairs.par_iter().map(trial).collect()
    }

    /// Mean squared error over all folds.
    fn brier(&self, candidate: &Candidate, method: Method) -> Result<f64, CalibrationError> {
        let (mut sum, mut n) = (0.0, 0);
        for fold in 0..self.folds.len() {
            let others: Vec<usize> =
                self.folds.iter().enumerate().filter(|&(other, _)| other != fold).flat_map(|(_, f)| f.clone()).collect();
            let (scores, wrong) = known(candidate, self.wrong, &others);
            let fitted = Calibration::fit(method, &scores, &wrong)?;
            let base_rate = others.iter().filter(|&&item| self.wrong[item]).count() as f64 / others.len().max(1) as f64;
            let probability = |item: usize| candidate.values[item].map_or(base_rate, |score| fitted.probability(score));
            sum += self.folds[fold].iter().map(|&item| (probability(item) - f64::from(u8::from(self.wrong[item]))).powi(2)).sum::<f64>();
            n += self.folds[fold].len();
        }
        if n == 0 { Err(MetricError::Empty.into()) } else { Ok(sum / n as f64) }
    }
}

/// The scores and labels of those items that have the score.
pub(super) fn known(candidate: &Candidate, wrong: &[bool], items: &[usize]) -> (Vec<f64>, Vec<bool>) {
    items.iter().filter_map(|&item| Some((candidate.values[item]?, wrong[item]))).unzip()
}

/// The trial of least Brier score; of equals the first.
///
/// # Errors
/// When none could be fitted.
pub(super) fn best(trials: &[Trial]) -> Result<&Trial, CalibrationError> {
    let fitted = trials.iter().filter_map(|trial| Some((trial, trial.brier?)));
    let reason = || trials.iter().find_map(|trial| trial.failure.clone()).unwrap_or_else(|| "there is no score to choose from".to_owned());
    fitted.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(trial, _)| trial).ok_or_else(|| CalibrationError::NoChoice(reason()))
}
