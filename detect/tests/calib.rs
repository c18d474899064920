//! Calibrators, intervals, corrections and thresholds against scikit-learn, scipy, LM-Polygraph and numpy (`golden/calib.py`).

use coppice_detect::calibration::{Bins, Calibration, Curve, Method, Temperature};
use coppice_detect::drift::Reference;
use coppice_detect::guarantee::conformal_quantile;
use coppice_detect::metrics::{self, Binning};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    delong: Vec<Delong>,
    reliability: Reliability,
    rejection: Rejection,
    calibrators: Vec<Fitted>,
    p_values: PValues,
    binomial_upper: Vec<(u64, u64, f64, f64)>,
    drift: Vec<Drifted>,
    conformal: Conformal,
}

#[derive(Deserialize)]
struct Delong {
    ours: Vec<f64>,
    theirs: Vec<f64>,
    wrong: Vec<bool>,
    variance: f64,
    interval_95: (f64, f64),
    difference: f64,
    std_error: f64,
    p_value: f64,
}

#[derive(Deserialize)]
struct Reliability {
    probabilities: Vec<f64>,
    wrong: Vec<bool>,
    width: Diagram,
    mass: Diagram,
}

#[derive(Deserialize)]
struct Diagram {
    bins: Vec<(usize, f64, f64)>,
    mce: f64,
    /// Reliability, resolution, uncertainty, within bins.
    brier_parts: [f64; 4],
}

#[derive(Deserialize)]
struct Rejection {
    areas: Vec<Area>,
    excess_aurc: f64,
    aurac: f64,
}

#[derive(Deserialize)]
struct Area {
    max_rejection: f64,
    area: f64,
    oracle: f64,
    prr: f64,
}

#[derive(Deserialize)]
struct Fitted {
    scores: Vec<f64>,
    wrong: Vec<bool>,
    queries: Vec<f64>,
    isotonic: Vec<f64>,
    centred_isotonic: Vec<f64>,
    bins: Option<Vec<f64>>,
    inverse_temperature: Option<f64>,
}

#[derive(Deserialize)]
struct PValues {
    raw: Vec<f64>,
    holm: Vec<f64>,
    bh: Vec<f64>,
}

#[derive(Deserialize)]
struct Drifted {
    reference: Vec<f64>,
    batch: Vec<f64>,
    statistic: f64,
    p_value: f64,
    scipy_p_value: f64,
}

#[derive(Deserialize)]
struct Conformal {
    values: Vec<f64>,
    found: Vec<Quantile>,
}

#[derive(Deserialize)]
struct Quantile {
    n: usize,
    alpha: f64,
    threshold: Option<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/calib.json")).expect("written by calib.py")
}

#[track_caller]
fn assert_near(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, expected {expected}");
}

#[test]
fn delong_equals_its_definition_over_all_pairs() {
    for case in golden().delong {
        let (ours, theirs, wrong) = (&case.ours, &case.theirs, &case.wrong);
        assert_near(metrics::auroc_variance(ours, wrong).expect("two classes"), case.variance, 1e-12, "variance");
        let interval = metrics::delong_interval(ours, wrong, 0.95).expect("two classes");
        assert_near(interval.low, case.interval_95.0, 1e-9, "low");
        assert_near(interval.high, case.interval_95.1, 1e-9, "high");
        let test = metrics::delong_test(ours, theirs, wrong).expect("two classes");
        assert_near(test.difference, case.difference, 1e-12, "difference");
        assert_near(test.std_error, case.std_error, 1e-9, "standard error");
        assert_near(test.p_value, case.p_value, 1e-9, "p-value");
    }
}

#[test]
fn reliability_diagrams_equal_scikit_learn() {
    let Reliability { probabilities, wrong, width, mass } = golden().reliability;
    for (expected, binning) in [(width, Binning::EqualWidth), (mass, Binning::EqualMass)] {
        let found = metrics::reliability_bins(&probabilities, &wrong, 10, binning).expect("valid");
        assert_eq!(found.len(), expected.bins.len());
        for (found, (items, mean, share)) in found.iter().zip(expected.bins) {
            assert_eq!(found.items, items);
            assert_near(found.mean_probability, mean, 1e-9, "mean probability");
            assert_near(found.share_wrong, share, 1e-9, "share wrong");
        }
        assert_near(metrics::mce(&probabilities, &wrong, 10, binning).expect("valid"), expected.mce, 1e-9, "MCE");
        let parts = metrics::brier_parts(&probabilities, &wrong, 10, binning).expect("valid");
        let found = [parts.reliability, parts.resolution, parts.uncertainty, parts.within_bins];
        found.iter().zip(expected.brier_parts).for_each(|(&found, expected)| assert_near(found, expected, 1e-9, "part of the Brier score"));
    }
}

#[test]
fn rejection_areas_equal_lm_polygraph() {
    let Golden { delong, rejection, .. } = golden();
    let (scores, wrong) = (&delong[0].ours, &delong[0].wrong);
    let oracle: Vec<f64> = wrong.iter().map(|&wrong| f64::from(u8::from(wrong))).collect();
    for Area { max_rejection, area, oracle: best, prr } in rejection.areas {
        assert_near(metrics::rejection_area(scores, wrong, max_rejection).expect("valid"), area, 1e-9, "area");
        assert_near(metrics::rejection_area(&oracle, wrong, max_rejection).expect("valid"), best, 1e-9, "oracle");
        // Chance is exact here and the mean of 1,000 shuffles there.
        assert_near(metrics::prr(scores, wrong, max_rejection).expect("valid"), prr, 5e-3, "PRR");
    }
    assert_near(metrics::excess_aurc(scores, wrong).expect("valid"), rejection.excess_aurc, 1e-12, "E-AURC");
    assert_near(metrics::aurac(scores, wrong).expect("valid"), rejection.aurac, 1e-12, "AURAC");
}

#[test]
fn isotonic_curves_equal_scikit_learn_and_lm_polygraph() {
    for case in golden().calibrators {
        let isotonic = Curve::isotonic(&case.scores, &case.wrong).expect("two classes");
        let centred = Curve::centred_isotonic(&case.scores, &case.wrong).expect("two classes");
        for (place, &query) in case.queries.iter().enumerate() {
            assert_near(isotonic.probability(query), case.isotonic[place], 1e-9, &format!("isotonic at {query}"));
            assert_near(centred.probability(query), case.centred_isotonic[place], 1e-9, &format!("centred at {query}"));
        }
    }
}

#[test]
fn bins_equal_lm_polygraph() {
    let cases: Vec<Fitted> = golden().calibrators.into_iter().filter(|case| case.bins.is_some()).collect();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let fitted = Bins::fit(&case.scores, &case.wrong, 10).expect("two classes");
        let mut sorted = case.scores.clone();
        sorted.sort_by(f64::total_cmp);
        let middles = sorted.iter().skip(10).step_by(20);
        middles.zip(case.bins.expect("kept")).for_each(|(&score, share)| assert_near(fitted.probability(score), share, 1e-9, "share"));
    }
}

#[test]
fn temperature_equals_logistic_regression_without_intercept() {
    let cases: Vec<Fitted> = golden().calibrators.into_iter().filter(|case| case.inverse_temperature.is_some()).collect();
    assert_eq!(cases.len(), 1);
    let fitted = Temperature::fit(&cases[0].scores, &cases[0].wrong).expect("two classes");
    assert_near(fitted.inverse_temperature, cases[0].inverse_temperature.expect("kept"), 1e-8, "inverse temperature");
}

#[test]
fn corrections_equal_their_definitions() {
    let PValues { raw, holm, bh } = golden().p_values;
    for (found, expected) in [(metrics::holm(&raw), holm), (metrics::benjamini_hochberg(&raw), bh)] {
        found.expect("valid").iter().zip(expected).for_each(|(&found, expected)| assert_near(found, expected, 1e-12, "adjusted p-value"));
    }
}

#[test]
fn one_sided_bounds_equal_scipy() {
    for (successes, trials, confidence, bound) in golden().binomial_upper {
        let found = metrics::binomial_upper(successes, trials, confidence).expect("valid");
        assert_near(found, bound, 1e-9, &format!("{successes} of {trials}"));
    }
}

#[test]
fn the_kolmogorov_smirnov_test_equals_scipy() {
    for case in golden().drift {
        let found = Reference::new(&case.reference).expect("scores").drift(&case.batch).expect("scores");
        assert_near(found.statistic, case.statistic, 1e-12, "statistic");
        assert_near(found.p_value, case.p_value, 1e-9, "p-value");
        // scipy's own has the exact distribution of one sample of the effective size.
        assert_near(found.p_value, case.scipy_p_value, 0.02, "p-value of scipy");
    }
}

#[test]
fn conformal_quantiles_equal_numpy() {
    let Conformal { values, found } = golden().conformal;
    for Quantile { n, alpha, threshold } in found {
        assert_eq!(conformal_quantile(&values[..n], alpha), Ok(threshold), "{n}, {alpha}");
    }
}

#[test]
fn every_method_is_reached_by_its_name() {
    let case = &golden().calibrators[2];
    for method in Method::ALL {
        assert_eq!(method.name().parse(), Ok(method));
        assert_eq!(Calibration::fit(method, &case.scores, &case.wrong).map(|fitted| fitted.method()), Ok(method));
    }
    assert!("plat".parse::<Method>().expect_err("misspelt").contains("platt"));
}
