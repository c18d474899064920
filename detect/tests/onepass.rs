//! One-pass scores against LM-Polygraph, uqlm, scipy and numpy (`golden/onepass.py`), and what leaves them unchanged.

use std::collections::BTreeMap;

use coppice_detect::{Case, Record, scores};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Scored {
    record: Record,
    scores: BTreeMap<String, f64>,
}

fn score(name: &str, record: &Record) -> f64 {
    scores::find(name).expect("registered").score(&Case::new(record)).unwrap_or_else(|missing| panic!("{name} lacks {missing}"))
}

#[test]
fn every_score_equals_the_peers() {
    let golden: Vec<Scored> = serde_json::from_str(include_str!("golden/onepass.json")).expect("written by onepass.py");
    for Scored { record, scores: expected } in &golden {
        assert_eq!(record.check(), Ok(()));
        for (name, &value) in expected {
            let found = score(name, record);
            assert!((found - value).abs() < 1e-6, "{name} of {}: {found}, expected {value}", record.id);
        }
    }
    assert_eq!(golden.len(), 12);
    assert!(golden.iter().all(|scored| scored.scores.len() == 15 - usize::from(scored.record.id == "o0")), "a score is not held to a peer");
}

#[test]
fn a_response_whose_only_token_predicted_none_has_no_attention_score() {
    let golden: Vec<Scored> = serde_json::from_str(include_str!("golden/onepass.json")).expect("written by onepass.py");
    let scorer = scores::find("attention_score").expect("registered");
    let error = scorer.score(&Case::new(&golden[0].record)).expect_err("one token");
    assert_eq!(error.to_string(), "a non-empty attention.score");
}

proptest! {
    #[test]
    fn the_order_of_tokens_and_alternatives_does_not_matter(logprobs in prop::collection::vec((-9.0..0.0, -9.0..0.0), 1..40)) {
        let record = |pairs: Vec<(f64, f64)>| Record {
            token_logprobs: Some(pairs.iter().map(|pair| pair.0).collect()),
            unconditional_logprobs: Some(pairs.iter().map(|pair| pair.1).collect()),
            top_logprobs: Some(pairs.iter().map(|&(first, second)| vec![(-1, first), (-1, second)]).collect()),
            ..Record::default()
        };
        let swapped = |record: Record| Record {
            top_logprobs: record.top_logprobs.map(|all| all.into_iter().map(|token| token.into_iter().rev().collect()).collect()),
            ..record
        };
        let forwards = record(logprobs.clone());
        let backwards = swapped(record(logprobs.into_iter().rev().collect()));
        for name in ["max_token_nll", "min_k", "pmi", "top2_margin"] {
            prop_assert!((score(name, &forwards) - score(name, &backwards)).abs() < 1e-9, "{name}");
        }
    }

    /// The worst token is at least as suspect as the worst fifth, and that as the whole.
    #[test]
    fn fewer_tokens_of_the_least_likely_are_more_suspect(logprobs in prop::collection::vec(-20.0..0.0, 1..60)) {
        let record = Record { token_logprobs: Some(logprobs), ..Record::default() };
        let [worst, fifth, all] = ["max_token_nll", "min_k", "perplexity"].map(|name| score(name, &record));
        prop_assert!(worst >= fifth - 1e-9 && fifth >= all - 1e-9, "{worst} {fifth} {all}");
    }
}
