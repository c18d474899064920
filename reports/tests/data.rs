//! `results.json` reads back as it was written, and forgives what is missing or not finite.

use coppice_reports::data::{Arm, Curve2d, ExpertLoad, Interval, Measure, Point, Report, Role, SeedResult, Spread};

#[test]
fn a_report_survives_json() {
    let seed = SeedResult { seed: 7, facts_known: Some(0.5), best_score: Some("msp".into()), ..SeedResult::default() };
    let intervals = [(Measure::FactsKnown, Interval { low: 0.4, high: 0.6 })].into();
    let arm = Arm { name: "top1".into(), role: Role::Control, seeds: vec![seed], intervals, ..Arm::default() };
    let report = Report {
        title: "t".into(),
        arms: vec![arm],
        roc: vec![Curve2d { points: vec![Point { x: 0.25, y: 1.0 }], ..Curve2d::default() }],
        ..Report::default()
    };
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
}

#[test]
fn missing_parts_and_unknown_keys_are_forgiven() {
    let json = r#"{"title": "t", "arms": [{"name": "a", "seeds": [{"seed": 1}]}], "a_later_part": [1]}"#;
    let report: Report = serde_json::from_str(json).unwrap();
    assert_eq!(report.arms.first().map(Arm::shown), Some("a"));
    assert_eq!(serde_json::from_str::<Report>("{}").unwrap(), Report::default());
}

#[test]
fn numbers_that_are_not_finite_read_back_as_missing() {
    let load = ExpertLoad { layers: vec![vec![f64::NAN, 1.0]], ..ExpertLoad::default() };
    let seed = SeedResult { validation_loss: Some(f64::INFINITY), ..SeedResult::default() };
    let points = vec![Point { x: f64::NAN, y: 0.5 }];
    let json = serde_json::to_string(&(load, seed, points)).unwrap();
    let (load, seed, points): (ExpertLoad, SeedResult, Vec<Point>) = serde_json::from_str(&json).unwrap();
    assert!(load.layers[0][0].is_nan() && load.layers[0][1] == 1.0);
    assert_eq!(seed.validation_loss, None);
    assert!(points[0].x.is_nan() && points[0].y == 0.5);
}

#[test]
fn a_spread_is_mean_and_range_over_the_seeds_that_have_the_measure() {
    let seed = |facts_known| SeedResult { facts_known, ..SeedResult::default() };
    let seeds = [Some(0.5), None, Some(f64::NAN), Some(0.75)].map(seed).into();
    let arm = Arm { seeds, ..Arm::default() };
    assert_eq!(arm.spread(Measure::FactsKnown), Some(Spread { mean: 0.625, low: 0.5, high: 0.75, seeds: 2 }));
    assert_eq!(arm.spread(Measure::MadeUp), None);
}
