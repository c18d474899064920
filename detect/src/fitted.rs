//! What learned scores have learnt, as it is kept in a file: parameters of each, and which records they were fitted on, so that no score is
//! judged on a record it has seen.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checksum::{fnv, sealed, unseal};
use crate::learn::FitError;
use crate::learn::folds::folds;
use crate::metrics;
use crate::record::Record;
use crate::scores::{Case, Learned, Model, Training, UnknownScore, find};

/// Version of the file; readers refuse others.
pub const VERSION: u32 = 1;

/// Fitted scores by name.
#[derive(Debug, Default)]
pub struct Fitted {
    models: BTreeMap<String, Box<dyn Model>>,
    seen: BTreeSet<u64>,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    /// Fingerprints, hexadecimal, of the records of the fit.
    fitted_on: Vec<String>,
    scores: BTreeMap<String, Value>,
}

/// Why there is nothing fitted.
#[derive(Debug, thiserror::Error)]
pub enum FittedError {
    /// A score that does not exist.
    #[error(transparent)]
    UnknownScore(#[from] UnknownScore),
    /// A score that needs no fit.
    #[error("{0} is not a learned score; it needs no fit")]
    NotLearned(String),
    /// No JSON, or not the fields of such a file.
    #[error("not a file of fitted scores: {0}")]
    Json(#[from] serde_json::Error),
    /// A file of another version.
    #[error("a file of fitted scores of version {0}; this program reads version {VERSION}")]
    Version(u32),
    /// A file that is not as it was written.
    #[error("not a file of fitted scores: its checksum is another: it was changed or damaged after it was written")]
    Damaged,
    /// A fingerprint that is none.
    #[error("not a file of fitted scores: `fitted_on` has {0:?}, no number of sixteen hexadecimal digits")]
    Fingerprint(String),
    /// One score's parameters are damaged.
    #[error("the fitted parameters of {score} cannot be read: {error}")]
    Parameters {
        /// The score.
        score: String,
        /// What is wrong with them.
        error: serde_json::Error,
    },
}

/// How the fit of one score went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FitReport {
    /// The score.
    pub score: String,
    /// Whether it learnt from labels.
    pub supervised: bool,
    /// What was learnt, in one line.
    pub summary: String,
    /// AUROC of the labelled records, each scored by a fit that had not seen its group; `None` without cross-validation or where it has no value.
    pub held_out_auroc: Option<f64>,
    /// How many records that is.
    pub held_out_records: usize,
}

/// Fitted scores, and how their fits went.
#[derive(Debug)]
pub struct Fit {
    /// The scores that could be fitted.
    pub fitted: Fitted,
    /// One for each of them.
    pub reports: Vec<FitReport>,
    /// Why the others could not.
    pub failures: BTreeMap<String, FitError>,
}

impl Fit {
    fn add(&mut self, name: &str, score: &dyn Learned, model: Box<dyn Model>, held_out: (Option<f64>, usize)) {
        let (held_out_auroc, held_out_records) = held_out;
        let (summary, supervised) = (model.summary(), score.supervised());
        self.reports.push(FitReport { score: name.to_owned(), supervised, summary, held_out_auroc, held_out_records });
        self.fitted.insert(name, model);
    }
}

impl Fitted {
    /// What was fitted for a score.
    pub fn model(&self, score: &str) -> Option<&dyn Model> {
        self.models.get(score).map(AsRef::as_ref)
    }

    /// Names of the fitted scores.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.models.keys().map(String::as_str)
    }

    /// Whether a record, by its id, prompt and response, was among those fitted on.
    pub fn has_seen(&self, record: &Record) -> bool {
        self.seen.contains(&fingerprint(record))
    }

    /// Adds a fitted score.
    pub fn insert(&mut self, score: &str, model: Box<dyn Model>) {
        self.models.insert(score.to_owned(), model);
    }

    /// Fits the named scores. A score that cannot be fitted is left out, with the reason. With at least two `n_folds` the fits are also judged
    /// by cross-validation over whole groups.
    ///
    /// # Errors
    /// A name that is no learned score.
    pub fn fit(names: &[String], training: &Training<'_>, n_folds: usize) -> Result<Fit, FittedError> {
        let chosen = names.iter().map(|name| learned(name)).collect::<Result<Vec<_>, _>>()?;
        let seen = training.records.iter().map(|record| fingerprint(record)).collect();
        let mut found = Fit { fitted: Self { seen, ..Self::default() }, reports: Vec::new(), failures: BTreeMap::new() };
        for (name, score) in names.iter().zip(chosen) {
            match score.fit(training) {
                Ok(model) => found.add(name, score, model, cross_validate(score, training, n_folds)),
                Err(error) => drop(found.failures.insert(name.clone(), error)),
            }
        }
        Ok(found)
    }

    /// As JSON.
    ///
    /// # Errors
    /// When JSON cannot hold it.
    pub fn to_json(&self) -> Result<String, FittedError> {
        let scores = self.models.iter().map(|(name, model)| (name.clone(), model.parameters())).collect();
        let fitted_on = self.seen.iter().map(|fingerprint| format!("{fingerprint:016x}")).collect();
        Ok(sealed(&File { version: VERSION, fitted_on, scores })?.to_string())
    }

    /// From JSON.
    ///
    /// # Errors
    /// Another version, unknown scores, damaged parameters.
    pub fn from_json(text: &str) -> Result<Self, FittedError> {
        let mut value: Value = serde_json::from_str(text)?;
        let version = value.get("version").and_then(Value::as_u64);
        if let Some(other) = version.filter(|&version| version != u64::from(VERSION)) {
            return Err(FittedError::Version(u32::try_from(other).unwrap_or(u32::MAX)));
        }
        if !unseal(&mut value) {
            return Err(FittedError::Damaged);
        }
        let file: File = serde_json::from_value(value)?;
        let number = |text: &String| u64::from_str_radix(text, 16).map_err(|_| FittedError::Fingerprint(text.clone()));
        let mut found = Self { models: BTreeMap::new(), seen: file.fitted_on.iter().map(number).collect::<Result<_, _>>()? };
        for (score, parameters) in file.scores {
            let model = learned(&score)?.read(&parameters);
            found.insert(&score, model.map_err(|error| FittedError::Parameters { score: score.clone(), error })?);
        }
        Ok(found)
    }
}

fn learned(name: &str) -> Result<&'static dyn Learned, FittedError> {
    find(name)?.learned().ok_or_else(|| FittedError::NotLearned(name.to_owned()))
}

/// AUROC of the labelled records, each scored by a fit on the folds without it, and how many there are.
fn cross_validate(score: &dyn Learned, training: &Training<'_>, n_folds: usize) -> (Option<f64>, usize) {
    if n_folds < 2 {
        return (None, 0);
    }
    let wrong: Vec<bool> = training.records.iter().map(|record| record.wrong() == Some(true)).collect();
    let fold_of = folds(&training.groups, &wrong, n_folds, training.seed);
    let judged = (0..n_folds).into_par_iter().flat_map_iter(|fold| {
        let (out, rest) = (0..training.records.len()).partition::<Vec<usize>, _>(|&place| fold_of.get(place) == Some(&fold));
        held_out(score, training, &rest, &out)
    });
    let (scores, wrong): (Vec<f64>, Vec<bool>) = judged.collect::<Vec<_>>().into_iter().unzip();
    (metrics::auroc(&scores, &wrong).ok(), wrong.len())
}

/// Scores and labels of the records `out` by a fit on the records `rest`; none where that cannot be fitted.
fn held_out(score: &dyn Learned, training: &Training<'_>, rest: &[usize], out: &[usize]) -> Vec<(f64, bool)> {
    let Ok(model) = score.fit(&training.part(rest)) else { return Vec::new() };
    let judge = |&place: &usize| {
        let record = *training.records.get(place)?;
        let value = model.score(&Case::with(record, training.setup)).ok().filter(|value| value.is_finite())?;
        Some((value, record.wrong()?))
    };
    out.iter().filter_map(judge).collect()
}

/// FNV-1a, 64 bits, of id, prompt and response: the same on every machine and in every version.
fn fingerprint(record: &Record) -> u64 {
    let bytes = [&record.id, &record.prompt, &record.response].into_iter().flat_map(|text| text.bytes().chain([0xff]));
    fnv(bytes)
}
