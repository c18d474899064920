//! Scores that compare samples by meaning, against LM-Polygraph, uqlm and selfcheckgpt (`golden/compare.py`), and what must hold of
//! them whatever the samples.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use coppice_detect::entailment::{Entailment, Judgement, Table};
use coppice_detect::setup::{Equivalence, Setup};
use coppice_detect::similarity::BackendError;
use coppice_detect::{Case, Record, Sample, scores};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Golden {
    judgements: Vec<Value>,
    cases: Vec<Scored>,
}

#[derive(Deserialize)]
struct Scored {
    record: Record,
    scores: BTreeMap<String, f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/compare.json")).expect("written by compare.py")
}

fn judged_by(entailment: impl Entailment + 'static) -> Setup {
    Setup { entailment: Some(Box::new(entailment)), equivalence: Equivalence::Bidirectional, ..Setup::default() }
}

fn score(name: &str, record: &Record, setup: &Setup) -> f64 {
    let found = scores::find(name).expect("registered").score(&Case::with(record, setup));
    found.unwrap_or_else(|missing| panic!("{name} lacks {missing}"))
}

#[test]
fn every_score_equals_the_published_program() {
    let Golden { judgements, cases } = golden();
    let lines: Vec<String> = judgements.iter().map(Value::to_string).collect();
    let setup = judged_by(Table::read(lines.join("\n").as_bytes()).expect("judgements"));
    for Scored { record, scores } in cases {
        record.check().expect("consistent");
        for (name, expected) in scores {
            let found = score(&name, &record, &setup);
            assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{name} of {}: {found}, expected {expected}", record.id);
        }
    }
}

/// Judges by a fixed hash of the pair: no two pairs alike, every run the same.
#[derive(Debug)]
struct Hashed;

impl Entailment for Hashed {
    fn name(&self) -> &'static str {
        "hashed"
    }

    fn judge(&self, pairs: &[(&str, &str)]) -> Result<Vec<Judgement>, BackendError> {
        Ok(pairs.iter().map(hashed).collect())
    }
}

fn hashed((premise, hypothesis): &(&str, &str)) -> Judgement {
    if premise == hypothesis {
        return Judgement::SAME;
    }
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = premise.bytes().chain([0]).chain(hypothesis.bytes()).fold(0xcbf2_9ce4_8422_2325, mix);
    let parts = [16, 32, 48].map(|shift| ((hash >> shift) & 0xffff) as f64 + 1.0);
    let [entailment, neutral, contradiction] = parts.map(|part| part / parts.iter().sum::<f64>());
    Judgement { entailment, neutral, contradiction }
}

static HASHED: LazyLock<Setup> = LazyLock::new(|| judged_by(Hashed));

const NAMES: [&str; 19] = [
    "discrete_semantic_entropy",
    "semantic_entropy",
    "semantic_entropy_mc",
    "semantic_entropy_unique",
    "num_semantic_sets",
    "kernel_language_entropy",
    "token_sar",
    "sentence_sar",
    "sar",
    "cocoa_msp",
    "cocoa_ppl",
    "cocoa_mte",
    "semantic_density",
    "luq",
    "ccp",
    "bsdetector",
    "degmat_nli",
    "eccentricity_nli",
    "eigval_laplacian_nli",
];

/// Of these the value may depend on the order of the samples: clusters are opened in that order.
const CLUSTERED: [&str; 4] = ["discrete_semantic_entropy", "semantic_entropy", "semantic_entropy_mc", "semantic_entropy_unique"];

fn sample(text: &str, logprobs: &[f64]) -> Sample {
    let token_texts = Some(logprobs.iter().enumerate().map(|(i, _)| if i == 0 { text.to_owned() } else { String::new() }).collect());
    Sample { text: text.to_owned(), token_logprobs: Some(logprobs.to_vec()), token_texts, ..Sample::default() }
}

/// A record that has what every score needs.
fn record(response: &str, samples: Vec<Sample>) -> Record {
    let record = serde_json::json!({
        "id": "a", "prompt": "Where?", "response": response, "token_texts": [response], "token_logprobs": [-0.7], "token_entropies": [0.4],
        "top_logprobs": [[[0, -0.7], [1, -1.2]]], "top_texts": [[response, "elsewhere"]], "judged": {"p_true": 0.6},
    });
    Record { samples, ..serde_json::from_value(record).expect("a record") }
}

/// Up to eight samples of up to six texts, each text always with the same probabilities.
fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let logprobs = prop::collection::vec(prop::collection::vec(-3.0f64..-0.01, 1..4), 6);
    let texts = ["Rome", "in Rome", "Oslo", "", "the city of Oslo", "?!"];
    (logprobs, prop::collection::vec(0usize..6, 2..8))
        .prop_map(move |(logprobs, drawn)| drawn.into_iter().map(|text| sample(texts[text], &logprobs[text])).collect())
}

proptest! {
    #[test]
    fn every_score_is_a_finite_number_even_of_empty_answers(samples in samples(), response in prop::sample::select(vec!["", "Rome", "?!"])) {
        let record = record(response, samples);
        for name in NAMES {
            prop_assert!(score(name, &record, &HASHED).is_finite(), "{}", name);
        }
    }

    #[test]
    fn the_order_of_samples_does_not_matter(samples in samples(), turn in 0usize..8) {
        let ordered = record("Rome", samples);
        let mut turned = ordered.clone();
        turned.samples.rotate_left(turn % ordered.samples.len());
        turned.samples.reverse();
        for name in NAMES.iter().filter(|name| !CLUSTERED.contains(name)) {
            prop_assert!((score(name, &ordered, &HASHED) - score(name, &turned, &HASHED)).abs() < 1e-9, "{}", name);
        }
    }

    #[test]
    fn drawing_every_sample_twice_changes_no_share(samples in samples()) {
        let once = record("Rome", samples);
        let twice = Record { samples: [once.samples.clone(), once.samples.clone()].concat(), ..once.clone() };
        let shares = [
            "discrete_semantic_entropy", "semantic_entropy", "semantic_entropy_unique", "num_semantic_sets", "cocoa_msp", "selfcheck_nli",
            "semantic_density", "bsdetector", "token_sar", "ccp",
        ];
        for name in shares {
            prop_assert!((score(name, &once, &HASHED) - score(name, &twice, &HASHED)).abs() < 1e-9, "{}", name);
        }
        // Twice the draws, twice the "probability": the defect of the Monte Carlo estimator.
        prop_assert!((score("semantic_entropy_mc", &once, &HASHED) - score("semantic_entropy_mc", &twice, &HASHED) - 2f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn scores_stay_within_their_ranges(samples in samples()) {
        let record = record("Rome", samples);
        let most = (record.samples.len() as f64).ln() + 1e-12;
        let ranges = [
            ("semantic_entropy", 0.0, most), ("discrete_semantic_entropy", 0.0, most), ("semantic_density", -1.0, 0.0), ("luq", 0.0, 1.0),
            ("selfcheck_nli", 0.0, 1.0), ("ccp", -1.0, 0.0), ("bsdetector", 0.0, 1.0), ("kernel_language_entropy", 0.0, 1.0 + 1e-9),
        ];
        for (name, low, high) in ranges {
            let found = score(name, &record, &HASHED);
            prop_assert!((low - 1e-12..=high).contains(&found), "{}: {}", name, found);
        }
    }
}

#[test]
fn the_unique_estimator_repairs_the_sum_above_one() {
    let certain = record("Rome", vec![sample("Rome", &[-0.01]), sample("Rome", &[-0.01]), sample("Rome", &[-0.01])]);
    assert!(score("semantic_entropy_mc", &certain, &HASHED) < -1.0, "three draws of probability 0.99 sum to 2.97");
    assert!((score("semantic_entropy_unique", &certain, &HASHED) - 0.01).abs() < 1e-12);
    assert_eq!(score("semantic_entropy", &certain, &HASHED), 0.0);
}

/// Texts of one first letter entail each other, others contradict.
#[derive(Debug)]
struct FirstLetter;

impl Entailment for FirstLetter {
    fn name(&self) -> &'static str {
        "first letter"
    }

    fn judge(&self, pairs: &[(&str, &str)]) -> Result<Vec<Judgement>, BackendError> {
        let of = |(a, b): &(&str, &str)| if a.chars().next() == b.chars().next() { 1.0 } else { 0.0 };
        Ok(pairs.iter().map(of).map(|entailment| Judgement { entailment, neutral: 0.0, contradiction: 1.0 - entailment }).collect())
    }
}

fn near(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() < 1e-9, "{what}: {found}, expected {expected}");
}

#[test]
fn distinct_equiprobable_answers_one_meaning_and_two_cliques() {
    let setup = judged_by(FirstLetter);
    let of = |texts: &[&str]| record("a", texts.iter().map(|text| sample(text, &[-(texts.len() as f64).ln()])).collect());
    let (distinct, one, two) = (of(&["a", "b", "c", "d", "e"]), of(&["a1", "a2", "a3", "a4"]), of(&["a1", "a2", "a3", "b1", "b2", "b3"]));
    for name in ["discrete_semantic_entropy", "semantic_entropy", "semantic_entropy_mc", "semantic_entropy_unique"] {
        near(score(name, &distinct, &setup), 5f64.ln(), name);
        near(score(name, &one, &setup), 0.0, name);
        near(score(name, &two, &setup), 2f64.ln(), name);
    }
    for (record, sets, luq, degmat) in [(&distinct, 5.0, 1.0, 0.8), (&one, 1.0, 0.0, 0.0), (&two, 2.0, 0.6, 0.5)] {
        near(score("num_semantic_sets", record, &setup), sets, "components");
        near(score("eigval_laplacian_nli", record, &setup), sets, "one eigenvalue 0 a component");
        near(score("luq", record, &setup), luq, "share of ordered pairs that contradict");
        near(score("degmat_nli", record, &setup), degmat, "1 - mean degree / M");
    }
    // No edges: the kernel is the identity, and its entropy that of M equal eigenvalues, scaled to 1.
    near(score("kernel_language_entropy", &distinct, &setup), 1.0, "no edges");
}

#[test]
fn kernel_language_entropy_of_a_clique() {
    // Complete graph on M nodes with weights 2: L = 2 (M I − 1 1ᵀ), K has eigenvalues 1 and e^(−0.6 M); normalised by its diagonal and M.
    let (setup, m) = (judged_by(FirstLetter), 4.0f64);
    let small = (-0.6 * m).exp();
    let trace = 1.0 + (m - 1.0) * small;
    let entropy: f64 = -(1.0 / trace) * (1.0 / trace).ln() - (m - 1.0) * (small / trace) * (small / trace).ln();
    let record = record("a", ["a1", "a2", "a3", "a4"].map(|text| sample(text, &[-1.0])).to_vec());
    near(score("kernel_language_entropy", &record, &setup), entropy / m.ln(), "clique");
}

#[test]
fn sentences_are_checked_one_by_one() {
    // Two sentences, one of which each of the samples contradicts.
    let setup = judged_by(FirstLetter);
    let record = record("All is well. But no.", vec![sample("All", &[-1.0]), sample("Alas", &[-1.0])]);
    near(score("selfcheck_nli", &record, &setup), 0.5, "half of the pairs contradict");
}

#[test]
fn what_is_missing_is_named() {
    let record = record("Rome", vec![sample("Rome", &[-0.1]), Sample { text: "Oslo".into(), ..Sample::default() }]);
    let missing = |name: &str, record: &Record, setup: &Setup| {
        scores::find(name).expect("registered").score(&Case::with(record, setup)).expect_err("incomplete").to_string()
    };
    assert_eq!(missing("luq", &record, &Setup::default()), "an entailment model");
    assert_eq!(missing("selfcheck_nli", &Record { response: String::new(), ..record.clone() }, &HASHED), "a non-empty response");
    assert_eq!(missing("sar", &record, &HASHED), "token_logprobs of every sample (absent from sample 1)");
    assert_eq!(missing("semantic_entropy_mc", &record, &HASHED), "token_logprobs of every sample (absent from sample 1)");
    let unequal = Record { token_texts: Some(vec![]), ..record.clone() };
    assert_eq!(missing("token_sar", &unequal, &HASHED), "token_texts of as many entries as token_logprobs");
    assert!(missing("ccp", &unequal, &HASHED).starts_with("one entry of token_texts"));
    let empty = judged_by(Table::default());
    assert!(missing("luq", &record, &empty).starts_with("a working back-end (table: no judgement of the premise \"Rome\""));
}
