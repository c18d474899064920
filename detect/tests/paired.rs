//! Paired comparisons against statsmodels and scipy (`golden/paired.py`).

use coppice_detect::metrics::{holm, mcnemar, paired_bootstrap};
use coppice_detect::paired::{Settings, Variant, compare, t_test};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    mcnemar: Vec<Tested>,
    holm: Vec<f64>,
    losses: Losses,
}

#[derive(Deserialize)]
struct Tested {
    first: Vec<u8>,
    second: Vec<u8>,
    only_first: u64,
    only_second: u64,
    exact: bool,
    p_value: f64,
}

#[derive(Deserialize)]
struct Losses {
    first: Vec<f64>,
    second: Vec<f64>,
    p_value: f64,
    low: f64,
    high: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/paired.json")).expect("the golden file")
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1e-3), "{found} is not {expected}");
}

#[test]
fn mcnemar_is_that_of_statsmodels() {
    let golden = golden();
    assert!(golden.mcnemar.iter().any(|case| case.exact) && golden.mcnemar.iter().any(|case| !case.exact));
    for case in &golden.mcnemar {
        let [first, second] = [&case.first, &case.second].map(|answers| answers.iter().map(|&one| one == 1).collect::<Vec<_>>());
        let found = mcnemar(&first, &second).expect("a test");
        assert_eq!((found.only_first, found.only_second, found.exact), (case.only_first, case.only_second, case.exact));
        close(found.p_value, case.p_value);
    }
    let p_values: Vec<f64> = golden.mcnemar.iter().map(|case| case.p_value).collect();
    holm(&p_values).expect("p-values").into_iter().zip(golden.holm).for_each(|(found, expected)| close(found, expected));
}

#[test]
fn losses_are_compared_as_scipy_does() {
    let Losses { first, second, p_value, low, high } = golden().losses;
    close(t_test(&first, &second).expect("a test"), p_value);
    // Two bootstraps with draws of their own: a twentieth of the interval's width apart at most.
    let found = paired_bootstrap(&first, &second, 20_000, 0.95, 5).expect("an interval");
    assert!((found.low - low).abs().max((found.high - high).abs()) < (high - low) / 20.0, "{found:?} is not {low} to {high}");
}

#[test]
fn a_comparison_is_made_of_the_tests() {
    let golden = golden();
    let case = &golden.mcnemar[3];
    let [first, second] = [&case.first, &case.second].map(|answers| answers.iter().map(|&one| f64::from(one)).collect::<Vec<_>>());
    let variants = [Variant { name: "one", values: &first }, Variant { name: "two", values: &second }];
    let found = compare(&variants, &Settings::default()).expect("a pair").remove(0);
    close(found.p_value, case.p_value);
    close(found.p_adjusted, case.p_value);
    let difference = (case.only_first as f64 - case.only_second as f64) / first.len() as f64;
    close(found.difference.estimate, difference);
}
