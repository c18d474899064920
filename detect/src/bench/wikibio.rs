//! SelfCheckGPT's n-gram scores on WikiBio passages, beside length, the scores recorded with the data, and the published figures.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::selfcheck::{self, Passage, SelfCheck};
use crate::adapters::{Item, Kind};
use crate::metrics::{Interval, MetricError, bootstrap};
use crate::scores::sentence_surprises;

const RESAMPLES: usize = 1000;
const CONFIDENCE: f64 = 0.95;

/// How one score did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WikiBioRow {
    /// The score; `recorded_…` are those that came with the data.
    pub score: String,
    /// Measured on the passages at hand.
    pub measured: SelfCheck,
    /// Interval of the NonFact area, by resampling passages.
    pub non_fact_interval: Interval,
    /// Published for the score on all 238 passages with 20 samples: NonFact, Factual, Pearson; areas and correlations as fractions.
    pub published: Option<[f64; 3]>,
}

/// Scores of sentences and the passage, from an item.
type Score = Box<dyn Fn(&Item) -> Option<(Vec<f64>, f64)>>;

/// All scores on the passages of `selfcheck_wikibio`; `seed` draws the resamples. A score that some passage lacks has no row.
///
/// # Errors
/// When a score is not defined on the passages.
pub fn wikibio(items: &[Item], seed: u64) -> Result<Vec<WikiBioRow>, MetricError> {
    scores().into_iter().filter_map(|(name, published, score)| row(name, published, &score, items, seed).transpose()).collect()
}

fn row(name: &str, published: Option<[f64; 3]>, score: &Score, items: &[Item], seed: u64) -> Result<Option<WikiBioRow>, MetricError> {
    let Some(passages) = items.iter().map(|item| passage(item, score)).collect::<Option<Vec<_>>>() else { return Ok(None) };
    let measured = selfcheck::selfcheck(&passages)?;
    let non_fact = |drawn: &[usize]| {
        let drawn: Vec<&Passage> = drawn.iter().filter_map(|&index| passages.get(index)).collect();
        selfcheck::non_fact(&drawn).ok().map(|area| area.auc_pr)
    };
    let non_fact_interval = bootstrap(passages.len(), RESAMPLES, CONFIDENCE, seed, non_fact)?;
    Ok(Some(WikiBioRow { score: name.to_owned(), measured, non_fact_interval, published }))
}

fn passage(item: &Item, score: &Score) -> Option<Passage> {
    let (scores, whole) = score(item)?;
    let grades: Vec<f64> = item.units.iter().filter(|unit| unit.kind == Kind::Sentence).filter_map(|unit| unit.grade).collect();
    (scores.len() == grades.len() && !grades.is_empty()).then_some(Passage { grades, scores, whole })
}

/// Every score with its published figures (README of potsawee/selfcheckgpt).
fn scores() -> Vec<(&'static str, Option<[f64; 3]>, Score)> {
    vec![
        ("selfcheck_ngram_max", Some([0.8563, 0.5847, 0.6471]), Box::new(|item| Some(maxima(&surprises::<1>(item))))),
        ("selfcheck_ngram_avg", None, Box::new(|item| Some(means(&surprises::<1>(item))))),
        ("selfcheck_2gram_max", None, Box::new(|item| Some(maxima(&surprises::<2>(item))))),
        ("selfcheck_2gram_avg", None, Box::new(|item| Some(means(&surprises::<2>(item))))),
        ("selfcheck_3gram_max", None, Box::new(|item| Some(maxima(&surprises::<3>(item))))),
        ("selfcheck_4gram_max", None, Box::new(|item| Some(maxima(&surprises::<4>(item))))),
        ("selfcheck_5gram_max", None, Box::new(|item| Some(maxima(&surprises::<5>(item))))),
        ("length", None, Box::new(|item| Some(lengths(item)))),
        ("recorded_bert", Some([0.8196, 0.4423, 0.5818]), Box::new(|item| recorded(item, "bert"))),
        ("recorded_nli", Some([0.9250, 0.6608, 0.7414]), Box::new(|item| recorded(item, "nli"))),
        ("recorded_prompt", Some([0.9342, 0.6709, 0.7832]), Box::new(|item| recorded(item, "prompt"))),
    ]
}

fn sentences(item: &Item) -> Vec<&str> {
    item.units.iter().filter(|unit| unit.kind == Kind::Sentence).map(|unit| unit.text.as_str()).collect()
}

fn surprises<const N: usize>(item: &Item) -> Vec<Vec<f64>> {
    sentence_surprises::<N>(&sentences(item), &item.record.sample_texts())
}

/// The maximum of every sentence; their mean for the passage.
fn maxima(surprises: &[Vec<f64>]) -> (Vec<f64>, f64) {
    with_mean(surprises.iter().map(|tokens| tokens.iter().copied().fold(0.0, f64::max)).collect())
}

/// The mean of every sentence; the mean over all tokens for the passage.
fn means(surprises: &[Vec<f64>]) -> (Vec<f64>, f64) {
    (surprises.iter().map(|tokens| mean(tokens)).collect(), mean(&surprises.concat()))
}

fn lengths(item: &Item) -> (Vec<f64>, f64) {
    with_mean(sentences(item).iter().map(|sentence| sentence.chars().count() as f64).collect())
}

/// A score that the data brings along.
fn recorded(item: &Item, name: &str) -> Option<(Vec<f64>, f64)> {
    let list = item.record.source.as_ref()?.get("baseline_scores")?.get(name)?.as_array()?;
    list.iter().map(Value::as_f64).collect::<Option<Vec<_>>>().map(with_mean)
}

fn with_mean(scores: Vec<f64>) -> (Vec<f64>, f64) {
    let whole = mean(&scores);
    (scores, whole)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
