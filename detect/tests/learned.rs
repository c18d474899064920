//! Learned scores and their learners against scikit-learn, numpy and torch (`golden/learned.py`), and what becomes of data that allow no fit.

use coppice_detect::fitted::{Fit, Fitted};
use coppice_detect::learn::gaussian::{Gaussian, Regularisation};
use coppice_detect::learn::logistic::Logistic;
use coppice_detect::learn::mlp::{Adam, Dense, Mlp, MlpSettings};
use coppice_detect::learn::pca::Pca;
use coppice_detect::scores::{Case, Training, find};
use coppice_detect::{Record, Setup, score_case};
use ndarray::{Array1, Array2};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Golden {
    records: Vec<Record>,
    n_train: usize,
    mahalanobis: Vec<f64>,
    relative_mahalanobis: Vec<f64>,
    shrunk: Shrunk,
    semantic_entropy_probe: Probe,
    lookback_ratio: Vec<f64>,
    ensemble: Ensemble,
    haloscope: Membership,
    logistic: Vec<LogisticCase>,
    network: Network,
}

#[derive(Deserialize)]
struct Shrunk {
    shrinkage: f64,
    distances: Vec<f64>,
}

#[derive(Deserialize)]
struct Probe {
    threshold: f64,
    scores: Vec<f64>,
}

#[derive(Deserialize)]
struct Ensemble {
    weights: BTreeMap<String, f64>,
    scores: Vec<f64>,
}

#[derive(Deserialize)]
struct Membership {
    singular_values: Vec<f64>,
    squared_projections: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct LogisticCase {
    features: Vec<Vec<f64>>,
    positive: Vec<bool>,
    c: f64,
    weights: Vec<f64>,
    intercept: f64,
}

#[derive(Deserialize)]
struct Network {
    features: Vec<Vec<f64>>,
    targets: Vec<f64>,
    layers: Vec<Layer>,
    loss: f64,
    gradients: Vec<Layer>,
    after_5_steps: Vec<Layer>,
    log_odds_after: Vec<f64>,
}

#[derive(Deserialize)]
struct Layer {
    weight: Vec<Vec<f64>>,
    bias: Vec<f64>,
}

impl From<&Layer> for Dense {
    fn from(layer: &Layer) -> Self {
        Self { weight: array(&layer.weight), bias: Array1::from(layer.bias.clone()) }
    }
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/learned.json")).expect("written by learned.py")
}

fn array(rows: &[Vec<f64>]) -> Array2<f64> {
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j])
}

#[track_caller]
fn assert_near(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance * expected.abs().max(1.0), "{what} {index}: {found}, expected {expected}");
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Fits on records, writes the file and reads it back.
fn fit<'a>(records: &'a [Record], scores: &[&str], change: impl Fn(&mut Training<'a>)) -> (Setup, Fit) {
    static PLAIN: std::sync::LazyLock<Setup> = std::sync::LazyLock::new(Setup::default);
    let mut training = Training::new(records.iter().collect(), &PLAIN);
    change(&mut training);
    let fit = Fitted::fit(&names(scores), &training, 0).expect("learned scores");
    let written = fit.fitted.to_json().expect("plain data");
    (Setup { fitted: Fitted::from_json(&written).expect("as written"), ..Setup::default() }, fit)
}

fn scores(setup: &Setup, records: &[Record], name: &str) -> Vec<f64> {
    let scorer = find(name).expect("registered");
    records.iter().map(|record| scorer.score(&Case::with(record, setup)).expect("complete")).collect()
}

#[test]
fn scores_equal_their_definitions_in_numpy_and_scikit_learn() {
    let golden = golden();
    let (train, test) = golden.records.split_at(golden.n_train);
    let all = ["mahalanobis", "relative_mahalanobis", "semantic_entropy_probe", "lookback_ratio"];
    let (setup, fit) = fit(train, &all, |_| ());
    assert!(fit.failures.is_empty(), "{:?}", fit.failures);
    assert_near(&scores(&setup, test, "mahalanobis"), &golden.mahalanobis, 1e-6, "mahalanobis");
    assert_near(&scores(&setup, test, "relative_mahalanobis"), &golden.relative_mahalanobis, 1e-6, "relative_mahalanobis");
    assert_near(&scores(&setup, test, "semantic_entropy_probe"), &golden.semantic_entropy_probe.scores, 1e-6, "semantic_entropy_probe");
    assert_near(&scores(&setup, test, "lookback_ratio"), &golden.lookback_ratio, 1e-6, "lookback_ratio");
    let probe = fit.fitted.model("semantic_entropy_probe").expect("fitted").parameters();
    assert_near(&[probe["threshold"].as_f64().expect("a number")], &[golden.semantic_entropy_probe.threshold], 1e-12, "threshold");
}

#[test]
fn the_ensemble_equals_scikit_learn_missing_values_included() {
    let golden = golden();
    let (train, test) = golden.records.split_at(golden.n_train);
    let members = names(&["msp", "mean_token_entropy", "exact_match_rate"]);
    let (setup, fit) = fit(train, &["ensemble"], |training| training.members = Some(members.clone()));
    assert_near(&scores(&setup, test, "ensemble"), &golden.ensemble.scores, 1e-6, "ensemble");
    let weights = &fit.fitted.model("ensemble").expect("fitted").parameters()["weights"];
    let weights: BTreeMap<String, f64> = serde_json::from_value(weights.clone()).expect("names and numbers");
    assert!(weights.keys().eq(golden.ensemble.weights.keys()));
    assert_near(&weights.into_values().collect::<Vec<_>>(), &golden.ensemble.weights.into_values().collect::<Vec<_>>(), 1e-6, "weights");
    let lacking = Record { token_logprobs: None, ..test[0].clone() };
    let verdict = score_case(&Case::with(&lacking, &setup), &[find("ensemble").expect("registered")]);
    assert_eq!(verdict.missing["ensemble"], "the score msp (token_logprobs)");
}

#[test]
fn with_fewer_records_than_dimensions_the_covariance_is_ledoit_and_wolfs() {
    let golden = golden();
    let mean = |record: &Record| record.hidden.iter().find(|hidden| hidden.layer == 6).expect("three layers").mean.clone();
    let rows = Array2::from_shape_fn((10, 16), |(i, j)| f64::from(mean(&golden.records[i])[j]));
    let fitted = Gaussian::fit(rows.view()).expect("spread");
    assert!(matches!(fitted.regularisation, Regularisation::Shrinkage(share) if (share - golden.shrunk.shrinkage).abs() < 1e-9));
    let (setup, _) = fit(&golden.records[..10], &["mahalanobis"], |_| ());
    assert_near(&scores(&setup, &golden.records[golden.n_train..], "mahalanobis"), &golden.shrunk.distances, 1e-6, "shrunk");
}

#[test]
fn logistic_regression_equals_scikit_learn() {
    for case in golden().logistic {
        let fitted = Logistic::fit(array(&case.features).view(), &case.positive, case.c).expect("two classes");
        assert_near(&fitted.weights, &case.weights, 1e-6, "weights");
        assert_near(&[fitted.intercept], &[case.intercept], 1e-6, "intercept");
    }
}

#[test]
fn principal_components_equal_numpy() {
    let golden = golden();
    let last = |record: &Record| record.hidden.iter().find(|hidden| hidden.layer == 6).expect("three layers").last.clone();
    let rows = Array2::from_shape_fn((golden.records.len(), 16), |(i, j)| f64::from(last(&golden.records[i])[j]));
    let fitted = Pca::fit(rows.view(), 10, 0).expect("spread");
    assert_near(&fitted.singular_values, &golden.haloscope.singular_values, 1e-9, "singular values");
    for (row, expected) in rows.rows().into_iter().zip(&golden.haloscope.squared_projections) {
        let squares: Vec<f64> = fitted.project(&row.to_vec()).iter().map(|along| along * along).collect();
        assert_near(&squares, expected, 1e-6, "squared projections");
    }
}

#[test]
fn gradients_and_steps_equal_torch() {
    let Network { features, targets, layers, loss, gradients, after_5_steps, log_odds_after } = golden().network;
    let (x, mut model) = (array(&features), Mlp { layers: layers.iter().map(Dense::from).collect() });
    let (found, slopes) = model.gradients(x.view(), &targets);
    assert_near(&[found], &[loss], 1e-12, "loss");
    same_layers(&slopes, &gradients, "gradients");
    let settings = MlpSettings { hidden: vec![], epochs: 0, batch: 12, learning_rate: 0.01, weight_decay: 3e-4, seed: 0 };
    let mut adam = Adam::new(&model, &settings);
    for _ in 0..5 {
        let (_, slopes) = model.gradients(x.view(), &targets);
        adam.step(&mut model, &slopes);
    }
    same_layers(&model.layers, &after_5_steps, "weights after five steps");
    assert_near(&model.log_odds(x.view()).to_vec(), &log_odds_after, 1e-9, "log-odds");
}

#[track_caller]
fn same_layers(found: &[Dense], expected: &[Layer], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected.iter().map(Dense::from)) {
        assert_near(&found.weight.iter().copied().collect::<Vec<_>>(), &expected.weight.iter().copied().collect::<Vec<_>>(), 1e-9, what);
        assert_near(&found.bias.to_vec(), &expected.bias.to_vec(), 1e-9, what);
    }
}
