//! Scores, metrics, intervals and calibration against scikit-learn, scipy and numpy (`golden/make.py`).

use coppice_detect::bench::{BenchSettings, bench};
use coppice_detect::calibration::Platt;
use coppice_detect::metrics::{self, Binning};
use coppice_detect::{Record, score_record, scores};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Golden {
    records: Vec<Scored>,
    metrics: Vec<Measured>,
    calibration: Calibration,
    tied: Rejection,
    intervals_95: BTreeMap<String, (f64, f64)>,
    paired: Paired,
    student_t: Means,
    binomial: Vec<Proportion>,
}

#[derive(Deserialize)]
struct Scored {
    record: Record,
    scores: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Measured {
    scores: Vec<f64>,
    wrong: Vec<bool>,
    auroc: f64,
    average_precision: f64,
    mann_whitney: f64,
    roc: Vec<(f64, f64)>,
    platt: Platt,
    prr: Option<f64>,
    prr_half: Option<f64>,
    aurc: Option<f64>,
}

#[derive(Deserialize)]
struct Calibration {
    probabilities: Vec<f64>,
    wrong: Vec<bool>,
    brier: f64,
    ece_width_15: f64,
    ece_mass_10: f64,
}

#[derive(Deserialize)]
struct Rejection {
    aurc: f64,
    prr: f64,
    prr_half: f64,
}

#[derive(Deserialize)]
struct Paired {
    ours: Vec<f64>,
    theirs: Vec<f64>,
    mean: f64,
    interval_95: (f64, f64),
}

#[derive(Deserialize)]
struct Means {
    values: Vec<f64>,
    interval_95: (f64, f64),
}

#[derive(Deserialize)]
struct Proportion {
    successes: u64,
    trials: u64,
    interval_95: (f64, f64),
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/golden.json")).expect("written by make.py")
}

#[track_caller]
fn assert_near(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, expected {expected}");
}

#[test]
fn the_first_scores_equal_their_definitions_in_numpy() {
    for Scored { record, scores: expected } in golden().records {
        let scorers: Vec<_> = expected.keys().map(|name| scores::find(name).expect("registered")).collect();
        let verdict = score_record(&record, &scorers);
        assert!(verdict.missing.is_empty() && verdict.scores.len() == expected.len());
        expected.iter().for_each(|(name, &value)| assert_near(verdict.scores[name], value, 1e-9, &format!("{name} of {}", record.id)));
    }
}

#[test]
fn ranking_metrics_equal_scikit_learn_and_scipy() {
    for case in golden().metrics {
        let (scores, wrong) = (&case.scores, &case.wrong);
        assert_near(metrics::auroc(scores, wrong).expect("two classes"), case.auroc, 1e-12, "auroc");
        assert_near(metrics::average_precision(scores, wrong).expect("two classes"), case.average_precision, 1e-12, "average precision");
        assert_near(metrics::mann_whitney(scores, wrong).expect("two classes"), case.mann_whitney, 1e-9, "Mann-Whitney");
        let roc = metrics::roc_curve(scores, wrong).expect("two classes");
        assert_eq!(roc.len(), case.roc.len());
        roc.iter().zip(&case.roc).for_each(|(found, expected)| {
            assert_near(found.0, expected.0, 1e-12, "false positive rate");
            assert_near(found.1, expected.1, 1e-12, "true positive rate");
        });
    }
}

#[test]
fn rejection_metrics_equal_the_definitions_of_lm_polygraph() {
    let case = &golden().metrics[0];
    let (scores, wrong) = (&case.scores, &case.wrong);
    assert_near(metrics::prr(scores, wrong, 1.0).expect("two classes"), case.prr.expect("distinct scores"), 1e-12, "prr");
    assert_near(metrics::prr(scores, wrong, 0.5).expect("two classes"), case.prr_half.expect("distinct scores"), 1e-12, "prr_half");
    assert_near(metrics::aurc(scores, wrong).expect("defined"), case.aurc.expect("distinct scores"), 1e-12, "aurc");
}

#[test]
fn tied_scores_count_with_their_mean_over_all_orders() {
    // The expectation is itself the mean of 4,000 orders, hence the tolerance.
    let Golden { metrics: cases, tied, .. } = golden();
    let (scores, wrong) = (&cases[1].scores, &cases[1].wrong);
    assert_near(metrics::aurc(scores, wrong).expect("defined"), tied.aurc, 2e-3, "aurc");
    assert_near(metrics::prr(scores, wrong, 1.0).expect("two classes"), tied.prr, 5e-3, "prr");
    assert_near(metrics::prr(scores, wrong, 0.5).expect("two classes"), tied.prr_half, 5e-3, "prr_half");
}

#[test]
fn bootstrap_intervals_equal_numpy_up_to_the_luck_of_the_draw() {
    let Golden { metrics: cases, intervals_95, .. } = golden();
    let answered =
        |(&score, &wrong): (&f64, &bool)| Record { token_logprobs: Some(vec![-score]), label: Some(u8::from(wrong)), ..Record::default() };
    let records: Vec<Record> = cases[0].scores.iter().zip(&cases[0].wrong).map(answered).collect();
    let settings = BenchSettings { scores: Some(vec!["msp".into()]), resamples: 4000, ..BenchSettings::default() };
    let row = &bench(&records, &settings).expect("labelled").rows[0];
    for (name, found) in [("auroc", row.auroc), ("auc_pr", row.auc_pr), ("prr", row.prr)] {
        let (low, high) = intervals_95[name];
        assert_near(found.low, low, 0.02, &format!("{name}, low"));
        assert_near(found.high, high, 0.02, &format!("{name}, high"));
    }
}

#[test]
fn the_paired_interval_equals_scipy() {
    let Paired { ours, theirs, mean, interval_95: (low, high) } = golden().paired;
    let found = metrics::paired_bootstrap(&ours, &theirs, 20000, 0.95, 3).expect("valid");
    assert_near(found.estimate, mean, 1e-12, "mean");
    assert_near(found.low, low, 0.015, "low");
    assert_near(found.high, high, 0.015, "high");
}

#[test]
fn platt_scaling_equals_weighted_logistic_regression() {
    for case in golden().metrics {
        let fitted = Platt::fit(&case.scores, &case.wrong).expect("two classes");
        assert_near(fitted.slope, case.platt.slope, 1e-6, "slope");
        assert_near(fitted.intercept, case.platt.intercept, 1e-6, "intercept");
    }
}

#[test]
fn calibration_errors_equal_numpy() {
    let Calibration { probabilities, wrong, brier, ece_width_15, ece_mass_10 } = golden().calibration;
    assert_near(metrics::brier(&probabilities, &wrong).expect("valid"), brier, 1e-12, "Brier");
    assert_near(metrics::ece(&probabilities, &wrong).expect("valid"), ece_width_15, 1e-12, "ECE, equal width");
    let equal_mass = metrics::ece_with(&probabilities, &wrong, 10, Binning::EqualMass).expect("valid");
    assert_near(equal_mass, ece_mass_10, 1e-12, "ECE, equal mass");
}

#[test]
fn intervals_equal_scipy() {
    let Golden { student_t, binomial, .. } = golden();
    let found = metrics::student_t(&student_t.values, 0.95).expect("four values");
    assert_near(found.low, student_t.interval_95.0, 1e-9, "t, low");
    assert_near(found.high, student_t.interval_95.1, 1e-9, "t, high");
    for Proportion { successes, trials, interval_95: (low, high) } in binomial {
        let found = metrics::binomial_interval(successes, trials, 0.95).expect("valid");
        assert_near(found.low, low, 1e-9, &format!("{successes} of {trials}, low"));
        assert_near(found.high, high, 1e-9, &format!("{successes} of {trials}, high"));
    }
}
