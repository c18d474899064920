//! Learned scores on records drawn from a known world: they find what is there to find on records they have not seen, and say in a sentence
//! why they cannot learn from records that do not allow it.

use coppice_detect::fitted::{Fitted, FittedError};
use coppice_detect::metrics::{self, Groups};
use coppice_detect::record::{Attention, Hidden};
use coppice_detect::scores::{Case, Missing, Training, find};
use coppice_detect::{Record, Setup};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::LazyLock;

static PLAIN: LazyLock<Setup> = LazyLock::new(Setup::default);
const SUPERVISED: [&str; 4] = ["saplma", "lookback_ratio", "haloscope", "ensemble"];

/// Wrong responses lie farther out along the first axis, and look back less; two questions a person, both wrong or both right.
fn world(n: usize, seed: u64) -> Vec<Record> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut noise = move || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
    (0..n)
        .map(|i| {
            let wrong = i / 2 % 3 == 0;
            let mut last: Vec<f32> = (0..12).map(|_| noise() as f32).collect();
            last[0] = if wrong { last[0].signum() * (5.0 + last[1].abs()) } else { 0.5 * last[0] };
            let lookback = (0..6).map(|head| 0.5 + 0.1 * noise() - if wrong && head == 2 { 0.3 } else { 0.0 }).collect();
            let hidden = vec![Hidden { layer: 4, mean: last.clone(), last, ..Hidden::default() }];
            let logprob = -(noise().abs() + if wrong { 1.5 } else { 0.0 });
            Record {
                id: format!("{seed}-{i}"),
                attention: Some(Attention { lookback, ..Attention::default() }),
                token_logprobs: Some(vec![logprob]),
                label: Some(u8::from(wrong)),
                hidden,
                ..Record::default()
            }
        })
        .collect()
}

fn training(records: &[Record]) -> Training<'_> {
    Training::new(records.iter().collect(), &PLAIN)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn fitted(records: &[Record], scores: &[&str]) -> Setup {
    let fit = Fitted::fit(&names(scores), &training(records), 0).expect("learned scores");
    assert!(fit.failures.is_empty(), "{:?}", fit.failures);
    Setup { fitted: fit.fitted, ..Setup::default() }
}

fn auroc(setup: &Setup, records: &[Record], score: &str) -> f64 {
    let scorer = find(score).expect("registered");
    let scores: Vec<f64> = records.iter().map(|record| scorer.score(&Case::with(record, setup)).expect("complete")).collect();
    metrics::auroc(&scores, &records.iter().map(|record| record.label == Some(1)).collect::<Vec<_>>()).expect("both classes")
}

/// Why a score cannot be fitted.
fn failure(records: &[Record], score: &str) -> String {
    Fitted::fit(&names(&[score]), &training(records), 0).expect("a learned score").failures[score].to_string()
}

#[test]
fn what_was_learnt_holds_on_records_not_seen() {
    // The distance from all responses, wrong ones included, finds least: they widen the covariance where they lie.
    let expected = [
        ("mahalanobis", 0.6),
        ("relative_mahalanobis", 0.9),
        ("saplma", 0.9),
        ("lookback_ratio", 0.9),
        ("haloscope", 0.8),
        ("ensemble", 0.8),
    ];
    let (setup, test) = (fitted(&world(300, 1), &expected.map(|(score, _)| score)), world(200, 2));
    for (score, least) in expected {
        let found = auroc(&setup, &test, score);
        assert!(found > least, "{score}: {found}");
    }
}

#[test]
fn a_fit_is_the_same_for_the_same_seed() {
    let records = world(80, 1);
    let json = |seed| {
        let training = Training { seed, ..training(&records) };
        Fitted::fit(&names(&SUPERVISED), &training, 0).expect("learned scores").fitted.to_json().expect("plain data")
    };
    assert_eq!(json(1), json(1));
    assert_ne!(json(1), json(2));
}

#[test]
fn memory_of_a_person_is_no_finding() {
    // Labels by lot, one for each person of two questions with nearly the same ratios in many heads: split by questions the regression knows the
    // person again; split by persons there is nothing to find.
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut records = world(240, 3);
    for pair in records.chunks_mut(2) {
        let lookback: Vec<f64> = (0..300).map(|_| rng.random()).collect();
        let label = Some(u8::from(rng.random::<bool>()));
        for record in pair {
            record.attention =
                Some(Attention { lookback: lookback.iter().map(|x| x + 0.01 * rng.random::<f64>()).collect(), ..Attention::default() });
            record.label = label;
        }
    }
    let held_out = |groups| {
        let training = Training { groups, ..training(&records) };
        let fit = Fitted::fit(&names(&["lookback_ratio"]), &training, 5).expect("a learned score");
        (fit.reports[0].held_out_auroc.expect("both classes"), fit.reports[0].held_out_records)
    };
    let (questions, persons) = (held_out(Groups::single(240)), held_out(Groups::new((0..240).map(|i| i / 2))));
    assert!(questions.0 > 0.9 && (persons.0 - 0.5).abs() < 0.15 && (questions.1, persons.1) == (240, 240), "{questions:?} and {persons:?}");
}

#[test]
fn records_that_allow_no_fit_are_explained() {
    let bare = vec![Record { id: "a".into(), label: Some(1), ..Record::default() }; 9];
    assert_eq!(failure(&bare, "saplma"), "0 records have what it learns from; at least 1 are needed (others lack hidden[].last)");
    assert_eq!(
        failure(&bare, "lookback_ratio"),
        "0 records have what it learns from; at least 4 are needed (others lack attention.lookback)"
    );
    let unlabelled: Vec<Record> = world(20, 1).into_iter().map(|record| Record { label: None, ..record }).collect();
    assert!(failure(&unlabelled, "saplma").ends_with("(others lack label)"));
    assert_eq!(failure(&unlabelled, "relative_mahalanobis"), "background records are needed, or responses labelled right");
    assert!(failure(&unlabelled, "semantic_entropy_probe").ends_with("(others lack hidden[].before_last)"));
}

#[test]
fn one_class_is_named() {
    let right: Vec<Record> = world(40, 1).into_iter().map(|record| Record { label: Some(0), ..record }).collect();
    for score in ["saplma", "lookback_ratio", "ensemble"] {
        assert_eq!(failure(&right, score), "all 40 records are right; a fit needs both classes", "{score}");
    }
    assert_eq!(failure(&right, "haloscope"), "all 10 records are right; a fit needs both classes");
}

#[test]
fn records_of_two_models_and_broken_numbers_are_named() {
    let mut records = world(20, 1);
    records[7].hidden[0].last.push(0.0);
    let expected = "record `1-7` has 13 numbers where those before it have 12; a fit needs records of one model";
    assert_eq!(failure(&records, "saplma"), expected);
    records[7].hidden[0].last = vec![f32::NAN; 12];
    assert_eq!(failure(&records, "saplma"), "record `1-7` has a number that is not finite");
    records[7].hidden[0].layer = 5;
    assert!(Fitted::fit(&names(&["saplma"]), &training(&records), 0).expect("a learned score").failures.is_empty());
}

#[test]
fn a_record_that_does_not_fit_the_parameters_says_what_it_lacks() {
    let setup = fitted(&world(40, 1), &["mahalanobis", "lookback_ratio"]);
    let record = &world(1, 2)[0];
    let lacks =
        |record: &Record, score: &str| find(score).expect("registered").score(&Case::with(record, &setup)).expect_err("unfit").to_string();
    let mut other = record.clone();
    other.hidden[0].layer = 9;
    assert_eq!(lacks(&other, "mahalanobis"), "hidden[].mean of layer 4");
    other.hidden[0] = Hidden { layer: 4, mean: vec![1.0; 3], ..Hidden::default() };
    assert_eq!(lacks(&other, "mahalanobis"), "12 numbers in hidden[].mean (3 found)");
    other.attention = Some(Attention { lookback: vec![0.5], ..Attention::default() });
    assert_eq!(lacks(&other, "lookback_ratio"), "6 numbers in attention.lookback (1 found)");
    assert_eq!(find("saplma").expect("registered").score(&Case::with(record, &setup)), Err(Missing::Fit("saplma")));
}

#[test]
fn an_ensemble_takes_only_scores_it_can_have() {
    let records = world(40, 1);
    let refuse = |members: &[&str]| {
        let training = Training { members: Some(names(members)), ..training(&records) };
        Fitted::fit(&names(&["ensemble"]), &training, 0).expect("a learned score").failures["ensemble"].to_string()
    };
    assert_eq!(refuse(&["saplma"]), "saplma is itself learned; an ensemble takes scores that are not");
    assert_eq!(refuse(&["mps"]), "unknown score `mps`; did you mean `msp`?");
    assert_eq!(refuse(&["mean_token_entropy"]), "fewer than half of the labelled records have mean_token_entropy");
}

#[test]
fn a_file_that_is_none_is_explained() {
    let read = |text: &str| Fitted::from_json(text).expect_err("damaged").to_string();
    assert_eq!(read(r#"{"version":9}"#), "a file of fitted scores of version 9; this program reads version 1");
    assert!(read("[1]").starts_with("not a file of fitted scores: "));
    assert!(read(r#"{"version":1,"fitted_on":["xyz"],"scores":{}}"#).contains("\"xyz\""));
    assert_eq!(read(r#"{"version":1,"fitted_on":[],"scores":{"msp":{}}}"#), "msp is not a learned score; it needs no fit");
    assert!(read(r#"{"version":1,"fitted_on":[],"scores":{"saplma":{}}}"#).starts_with("the fitted parameters of saplma cannot be read: "));
    assert!(matches!(Fitted::fit(&names(&["msp"]), &training(&[]), 0), Err(FittedError::NotLearned(name)) if name == "msp"));
}

proptest! {
    /// A byte changed anywhere in the file of all scores gives scores in finite numbers, a missing score, or a sentence.
    #[test]
    fn a_damaged_file_never_panics(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        static FILE: LazyLock<String> = LazyLock::new(|| {
            let records = world(40, 1);
            let scores = names(&["lookback_ratio", "ensemble", "mahalanobis", "relative_mahalanobis"]);
            Fitted::fit(&scores, &training(&records), 0).expect("learned scores").fitted.to_json().expect("plain data")
        });
        let mut bytes = FILE.clone().into_bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        match Fitted::from_json(&text) {
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
            Ok(fitted) => {
                let setup = Setup { fitted, ..Setup::default() };
                let record = &world(1, 2)[0];
                for score in ["lookback_ratio", "ensemble", "mahalanobis", "relative_mahalanobis"] {
                    drop(find(score).expect("registered").score(&Case::with(record, &setup)));
                }
            }
        }
    }
}

#[test]
fn two_distances_that_are_compared_are_regularised_alike() {
    // Ten responses of twelve dimensions are labelled right, all thirty are the background.
    let records: Vec<Record> = world(30, 1).into_iter().enumerate().map(|(i, r)| Record { label: Some(u8::from(i >= 10)), ..r }).collect();
    let fit = Fitted::fit(&names(&["relative_mahalanobis"]), &training(&records), 0).expect("a learned score");
    assert_eq!(fit.reports[0].summary.matches("covariance shrunk").count(), 2, "{}", fit.reports[0].summary);
}
