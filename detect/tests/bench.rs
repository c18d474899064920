//! The benchmark and the verdicts as a user meets them.

use coppice_detect::bench::{BenchError, BenchSettings, bench};
use coppice_detect::calibration::{Calibration, Calibrator, Platt};
use coppice_detect::{Decision, Record, score_record, scores};
use proptest::prelude::*;

/// A response of one token with this log-probability.
fn answered(id: usize, logprob: f64, label: Option<u8>) -> Record {
    Record { id: format!("r{id}"), response: "x".into(), token_logprobs: Some(vec![logprob]), label, ..Record::default() }
}

/// Forty responses; the wrong ones are always the less likely, but for two.
fn forty() -> Vec<Record> {
    let label = |i: usize| u8::from((i >= 25) != (i == 10 || i == 30));
    (0..40).map(|i| answered(i, -0.1 * i as f64, Some(label(i)))).collect()
}

fn settings(names: &[&str]) -> BenchSettings {
    BenchSettings { scores: Some(names.iter().map(|&name| name.into()).collect()), resamples: 200, ..BenchSettings::default() }
}

#[test]
fn a_good_score_is_told_from_the_length_baseline() {
    let found = bench(&forty(), &settings(&["msp"])).expect("labelled");
    let names: Vec<&str> = found.rows.iter().map(|row| row.score.as_str()).collect();
    assert_eq!((names.as_slice(), found.n, found.base_rate), (["msp", "length"].as_slice(), 40, 15.0 / 40.0));
    let best = found.best_single_pass().expect("msp is single-pass");
    // Pairs won: the 14 wrong ones from 25 on beat the 24 right ones below 25, nine of them also the right one at 30; the wrong one at 10
    // beats the ten below it.
    let won = 14.0 * 24.0 + 9.0 + 10.0;
    assert!((best.auroc.estimate - won / (15.0 * 25.0)).abs() < 1e-12, "{}", best.auroc.estimate);
    assert!(best.auroc.low < best.auroc.estimate && best.auroc.estimate < best.auroc.high && best.p_value < 1e-5);
    assert!(best.ece.is_some_and(|ece| ece.estimate < 0.25) && best.brier.is_some_and(|brier| brier.estimate < 0.15));
    assert_eq!((found.rows[1].auroc.estimate, found.rows[1].p_value), (0.5, 1.0));
}

#[test]
fn the_same_seed_gives_the_same_table_and_it_survives_a_file() {
    let found = bench(&forty(), &settings(&["msp"])).expect("labelled");
    assert_eq!(bench(&forty(), &settings(&["msp"])), Ok(found.clone()));
    let text = serde_json::to_string(&found).expect("plain data");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("json")["rows"][0]["score"], "msp");
}

#[test]
fn what_is_left_out_is_counted_and_named() {
    let mut records = forty();
    records.push(answered(40, -1.0, None));
    records[0].token_logprobs = None;
    let found = bench(&records, &settings(&["perplexity", "semantic_entropy"])).expect("labelled");
    assert_eq!((found.n, found.unlabelled.as_slice()), (40, ["r40".to_owned()].as_slice()));
    assert_eq!((found.rows[0].n, found.rows[0].missing, found.rows[0].lacks["token_logprobs"]), (39, 1, 1));
    let reason = "no labelled record has what it needs: 40 lack samples (at least 1 needed, 0 found)";
    assert_eq!(found.skipped["semantic_entropy"], reason);
}

#[test]
fn a_class_that_is_missing_for_want_of_data_is_told_with_the_want() {
    let mut records = forty();
    records.iter_mut().filter(|record| record.label == Some(0)).for_each(|record| record.token_logprobs = None);
    let reason = &bench(&records, &settings(&["msp"])).expect("labelled").skipped["msp"];
    assert!(reason.contains("all 15 responses are wrong") && reason.ends_with("25 lack token_logprobs"), "{reason}");
}

#[test]
fn of_equally_good_scores_the_first_of_the_registry_is_best() {
    // Of one-token responses `msp` and `perplexity` are the same number.
    let found = bench(&forty(), &settings(&["perplexity", "msp"])).expect("labelled");
    assert_eq!(found.rows[0].auroc, found.rows[1].auroc);
    assert_eq!(found.best_single_pass().map(|row| row.score.as_str()), Some("msp"));
}

#[test]
fn one_class_leaves_no_rows_but_reasons() {
    let records: Vec<Record> = (0..5).map(|i| answered(i, -1.0, Some(1))).collect();
    let found = bench(&records, &BenchSettings::default()).expect("labelled");
    assert!(found.rows.is_empty() && found.best_single_pass().is_none());
    assert!(found.skipped["msp"].contains("all 5 responses are wrong"), "{}", found.skipped["msp"]);
}

#[test]
fn what_cannot_be_benchmarked_is_an_error() {
    assert_eq!(bench(&[answered(0, -1.0, None)], &BenchSettings::default()), Err(BenchError::NoLabels(1)));
    assert!(matches!(bench(&forty(), &settings(&["mps"])), Err(BenchError::UnknownScore(error)) if error.nearest == "msp"));
    let bad = BenchSettings { confidence: 95.0, ..BenchSettings::default() };
    assert!(matches!(bench(&forty(), &bad), Err(BenchError::Setting(_))));
}

#[test]
fn without_a_calibrator_a_person_decides() {
    let verdict = score_record(&answered(1, -2.0, None), scores::registry());
    assert_eq!((verdict.scores["msp"], verdict.scores["length"]), (2.0, 1.0));
    assert_eq!(verdict.missing["mean_token_entropy"], "token_entropies");
    let written = serde_json::to_value(&verdict).expect("plain data");
    assert_eq!((&written["verdict"], &written["probability_wrong"]), (&"review".into(), &serde_json::Value::Null));
}

#[test]
fn a_calibrator_decides_and_says_when_it_cannot() {
    let calibrator = Calibrator::new("msp", Calibration::Platt(Platt { slope: 2.0, intercept: -4.0 }));
    let verdict = |logprob| score_record(&answered(1, logprob, None), scores::registry()).decide(&calibrator);
    assert_eq!([-0.5, -1.9, -3.0].map(|logprob| verdict(logprob).verdict), [Decision::Accept, Decision::Review, Decision::Flag]);
    assert_eq!(verdict(-2.0).probability_wrong, Some(0.5));
    let blind = score_record(&Record { id: "b".into(), ..Record::default() }, scores::registry()).decide(&calibrator);
    assert_eq!((blind.probability_wrong, blind.verdict), (None, Decision::Review));
    assert!(blind.evidence[0].contains("msp"));
}

proptest! {
    #[test]
    fn no_labels_and_no_numbers_make_a_benchmark_panic(items in prop::collection::vec((-1e300f64..0.0, 0u8..2), 0..30)) {
        let records: Vec<Record> = items.iter().enumerate().map(|(i, &(logprob, label))| answered(i, logprob, Some(label))).collect();
        let found = bench(&records, &BenchSettings { resamples: 5, ..BenchSettings::default() });
        prop_assert_eq!(found.is_err(), records.is_empty());
    }
}
