//! Sampling scores against LM-Polygraph, selfcheckgpt and torch (`golden/sampling.py`), against graphs of known spectrum, and what leaves them
//! unchanged.

use std::collections::BTreeMap;

use coppice_detect::record::{Hidden, Judged};
use coppice_detect::similarity::{BackendError, Similarity};
use coppice_detect::{Case, Record, Sample, Setup, Variant, scores};
use ndarray::Array2;
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Scored {
    record: Record,
    scores: BTreeMap<String, f64>,
}

fn score(name: &str, case: &Case<'_>) -> f64 {
    scores::find(name).expect("registered").score(case).unwrap_or_else(|missing| panic!("{name} lacks {missing}"))
}

fn answered(response: &str, texts: &[&str]) -> Record {
    let samples = texts.iter().map(|&text| Sample { text: text.into(), ..Sample::default() }).collect();
    Record { response: response.into(), samples, ..Record::default() }
}

#[track_caller]
fn assert_near(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() < 1e-9 * (1.0 + expected.abs()), "{what}: {found}, expected {expected}");
}

#[test]
fn every_score_equals_the_peers() {
    let golden: Vec<Scored> = serde_json::from_str(include_str!("golden/sampling.json")).expect("written by sampling.py");
    for Scored { record, scores: expected } in &golden {
        let case = Case::new(record);
        expected.iter().for_each(|(name, &value)| assert_near(score(name, &case), value, &format!("{name} of {}", record.id)));
    }
    assert!(golden.len() >= 20 && golden.iter().all(|scored| scored.scores.len() == 22));
}

/// 1 for texts that begin with the same letter: cliques.
#[derive(Debug)]
struct FirstLetter;

impl Similarity for FirstLetter {
    fn name(&self) -> &'static str {
        "first_letter"
    }

    fn matrix(&self, texts: &[&str]) -> Result<Array2<f64>, BackendError> {
        let same = |(i, j): (usize, usize)| texts[i].chars().next() == texts[j].chars().next();
        Ok(Array2::from_shape_fn((texts.len(), texts.len()), |pair| f64::from(u8::from(same(pair)))))
    }
}

/// `degmat`, `eccentricity` and `eigval_laplacian` of samples whose graph joins those with the same first letter.
fn graph_scores(texts: &[&str]) -> [f64; 3] {
    let (record, setup) = (answered("", texts), Setup { graph: Box::new(FirstLetter), ..Setup::default() });
    let case = Case::with(&record, &setup);
    ["degmat", "eccentricity", "eigval_laplacian"].map(|name| score(name, &case))
}

#[track_caller]
fn assert_graph(texts: &[&str], expected: [f64; 3]) {
    graph_scores(texts)
        .iter()
        .zip(expected)
        .for_each(|(&found, expected)| assert!((found - expected).abs() < 1e-7, "{found}, expected {expected}"));
}

#[test]
fn graphs_of_known_spectrum() {
    // Complete: eigenvalues 0 (the constant vector, no spread) and 1.
    assert_graph(&["a1", "a2", "a3", "a4"], [0.0, 0.0, 1.0]);
    // No edges: all eigenvalues 0, the vectors span everything; their spread is n less that of the constant one.
    assert_graph(&["a", "b", "c", "d", "e"], [1.0 - 5.0 / 25.0, 2.0, 5.0]);
    // Cliques of 3 and 2: eigenvalue 0 twice; the squared spread is 2 less the 1 of the constant vector.
    assert_graph(&["a1", "a2", "b1", "a3", "b2"], [1.0 - 13.0 / 25.0, 1.0, 2.0]);
    assert_graph(&["a1", "a1", "b1", "b1", "c", "c", "c"], [1.0 - 17.0 / 49.0, 2f64.sqrt(), 3.0]);
}

#[test]
fn the_graph_is_weighed_by_shared_words_unless_told_otherwise() {
    let record = answered("", &["a b", "B c"]);
    assert_near(score("degmat", &Case::new(&record)), 1.0 - (2.0 + 2.0 / 3.0) / 4.0, "degmat");
    // Weight w = 1/3 each way: eigenvalues 0 and 2w / (1 + w) = 1/2, so 1 + 1/2.
    assert_near(score("eigval_laplacian", &Case::new(&record)), 1.5, "eigval_laplacian");
}

#[test]
fn a_single_sample_agrees_with_nothing() {
    let record = answered("a", &["a"]);
    for name in ["degmat", "eccentricity", "eigval_laplacian", "lexical_similarity_rouge_1", "lexical_similarity_bleu", "eigenscore"] {
        let missing = scores::find(name).expect("registered").score(&Case::new(&record)).expect_err("one sample");
        assert_eq!(missing.to_string(), "samples (at least 2 needed, 1 found)", "{name}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let mut record = answered("  ", &["a", "b"]);
    let lacks =
        |name: &str, record: &Record| scores::find(name).expect("registered").score(&Case::new(record)).expect_err(name).to_string();
    assert_eq!(lacks("selfcheck_ngram_avg", &record), "a non-empty response");
    assert_eq!(lacks("eigenscore", &record), "hidden[].mean of one layer and size of every sample (absent from sample 0)");
    assert_eq!(lacks("selfcheck_prompt", &record), "judged.support");
    assert_eq!(lacks("variant_entropy", &record), "variants");
    record.judged = Some(Judged { p_true_sampling: Some(1.5), ..Judged::default() });
    assert_eq!(lacks("p_true_sampling", &record), "a judged.p_true_sampling from 0 to 1");
    record.variants = vec![Variant::default()];
    assert_eq!(lacks("variant_agreement", &record), "a non-empty variants[].samples");
    record.variants[0].samples = vec![Sample::default()];
    record.samples.clear();
    assert_eq!(lacks("within_across_gap", &record), "two answers to one wording");
}

fn varied(response: &str, samples: &[&str], variants: &[&[&str]]) -> Record {
    let variant = |texts: &&[&str]| Variant { samples: answered("", texts).samples, ..Variant::default() };
    Record { variants: variants.iter().map(variant).collect(), ..answered(response, samples) }
}

#[test]
fn variants_in_closed_form() {
    let record = varied("Rome", &["Rome", "Rome"], &[&["Rome", "Oslo"], &["Bonn"], &[], &["rome."]]);
    let case = Case::new(&record);
    // Similarities to the response: (1 + 0) / 2, 0, 1.
    assert_near(score("variant_agreement", &case), 0.5, "variant_agreement");
    // Meanings: Rome twice, Oslo, Bonn.
    assert_near(score("variant_entropy", &case), 0.5 * 2f64.ln() + 0.5 * 4f64.ln(), "variant_entropy");
    // Within: the two samples 1, Rome and Oslo 0. Across: samples with Rome, Rome and no other: 4 of 8 + Rome with rome. 1 of 5.
    assert_near(score("within_across_gap", &case), 0.5 - 5.0 / 13.0, "within_across_gap");
}

#[test]
fn known_answers_do_not_depend_on_the_wording() {
    let record = varied("Rome", &["Rome", "Rome"], &[&["Rome", "Rome"], &["Rome", "Rome"]]);
    for name in ["variant_agreement", "variant_entropy", "within_across_gap"] {
        assert_near(score(name, &Case::new(&record)), 0.0, name);
    }
    let record = varied("Rome", &["Rome", "Rome"], &[&["Oslo", "Oslo"], &["Bonn", "Bonn"]]);
    assert_near(score("within_across_gap", &Case::new(&record)), 1.0, "within_across_gap");
}

/// Scores that read the samples as a set. `lexical_similarity_bleu` is not among them: BLEU is not symmetric.
const UNORDERED: [&str; 16] = [
    "exact_match_rate",
    "mc_sequence_entropy",
    "length_normalised_entropy",
    "lexical_similarity",
    "lexical_similarity_rouge_1",
    "degmat",
    "eccentricity",
    "eigval_laplacian",
    "selfcheck_ngram_avg",
    "selfcheck_ngram_max",
    "selfcheck_2gram_avg",
    "selfcheck_3gram_max",
    "selfcheck_4gram_avg",
    "selfcheck_5gram_max",
    "eigenscore",
    "eigenscore_lmp",
];

/// Scores that the same samples drawn twice over leave as they are.
const OF_SHARES: [&str; 6] =
    ["exact_match_rate", "mc_sequence_entropy", "length_normalised_entropy", "degmat", "eigval_laplacian", "eccentricity"];

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let hidden = |values: Vec<f32>| Hidden { layer: 3, mean: values.clone(), last: values, ..Default::default() };
    let sample = ("[abc]{1,2}( [abc]{1,2}){0,5}[.?]?", prop::collection::vec(-9.0f64..0.0, 1..4), prop::collection::vec(-2f32..2.0, 5));
    let sample = sample.prop_map(move |(text, logprobs, state)| Sample {
        text,
        token_logprobs: Some(logprobs),
        hidden: vec![hidden(state)],
        ..Sample::default()
    });
    prop::collection::vec(sample, 2..9)
}

/// Whether an eigenvalue is so near the threshold of `eccentricity` that rounding decides.
fn undecided(record: &Record) -> bool {
    let weights = Case::new(record).sample_similarity(Setup::default().graph.as_ref()).expect("no model");
    let degrees: Vec<f64> = weights.rows().into_iter().map(|row| row.sum()).collect();
    let scaled = Array2::from_shape_fn(weights.dim(), |(i, j)| weights[[i, j]] / (degrees[i] * degrees[j]).sqrt());
    coppice_detect::eigen::symmetric(&scaled).values.iter().any(|value| (value - 0.1).abs() < 1e-9)
}

proptest! {
    #[test]
    fn the_order_of_samples_does_not_matter(samples in samples(), seed in any::<prop::sample::Index>()) {
        let record = Record { response: "a b. C a".into(), samples, ..Record::default() };
        let mut other = record.clone();
        other.samples.rotate_left(seed.index(record.samples.len()));
        other.samples.swap(0, 1);
        for name in UNORDERED.into_iter().filter(|&name| name != "eccentricity" || !undecided(&record)) {
            let (found, expected) = (score(name, &Case::new(&other)), score(name, &Case::new(&record)));
            prop_assert!((found - expected).abs() < 1e-7, "{}: {} and {}", name, found, expected);
        }
    }

    #[test]
    fn every_sample_twice_is_the_same_share(samples in samples()) {
        let record = Record { response: "a b".into(), samples, ..Record::default() };
        let twice = Record { samples: [record.samples.clone(), record.samples.clone()].concat(), ..record.clone() };
        for name in OF_SHARES.into_iter().filter(|&name| name != "eccentricity" || !undecided(&record)) {
            let (found, expected) = (score(name, &Case::new(&twice)), score(name, &Case::new(&record)));
            prop_assert!((found - expected).abs() < 1e-7, "{}: {} and {}", name, found, expected);
        }
    }

    #[test]
    fn bounds_hold(samples in samples()) {
        let record = Record { response: "a b".into(), samples, ..Record::default() };
        let (case, n) = (Case::new(&record), record.samples.len() as f64);
        for (name, low, high) in [("degmat", 0.0, 1.0), ("eigval_laplacian", 1.0, n), ("eccentricity", 0.0, n.sqrt()),
                                  ("lexical_similarity_rouge_1", -1.0, 0.0), ("lexical_similarity_bleu", -1.0, 0.0)] {
            let found = score(name, &case);
            prop_assert!((low - 1e-9..=high + 1e-9).contains(&found), "{}: {}", name, found);
        }
        prop_assert!(score("lexical_similarity", &case) >= score("lexical_similarity_rouge_1", &case) - 1e-12);
    }
}
