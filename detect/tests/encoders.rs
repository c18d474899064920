//! Encoders against transformers and sentence-transformers (`golden/encoders.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coppice_detect::encoder::{NliClassifier, SentenceEncoder, open_entailment, open_similarity};
use coppice_detect::entailment::{Entailment, Judgement};
use coppice_detect::similarity::Similarity;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    pairs: Vec<(String, String)>,
    sentences: Vec<String>,
    classifiers: BTreeMap<String, Judged>,
    encoders: BTreeMap<String, Embedded>,
}

#[derive(Deserialize)]
struct Judged {
    cut: u64,
    judgements: Vec<[f64; 3]>,
}

#[derive(Deserialize)]
struct Embedded {
    cut: u64,
    cosines: Vec<Vec<f64>>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/encoders.json")).expect("written by encoders.py")
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/encoders").join(name)
}

fn parts(judgement: &Judgement) -> [f64; 3] {
    [judgement.entailment, judgement.neutral, judgement.contradiction]
}

#[track_caller]
fn assert_near(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, expected {expected}");
}

#[test]
fn probabilities_of_every_family_equal_transformers() {
    let Golden { pairs, classifiers, .. } = golden();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(classifiers.len(), 4);
    for (name, Judged { cut, judgements }) in classifiers {
        let model = open_entailment(folder(&name)).unwrap_or_else(|error| panic!("{error}"));
        let found = model.judge(&pairs).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((found.len(), model.truncated()), (judgements.len(), cut), "{name}");
        for (index, (found, expected)) in found.iter().map(parts).zip(judgements).enumerate() {
            (0..3)
                .for_each(|relation| assert_near(found[relation], expected[relation], 1e-5, &format!("{name}, pair {index}, {relation}")));
        }
    }
}

#[test]
fn cosines_equal_sentence_transformers() {
    let Golden { sentences, encoders, .. } = golden();
    let texts: Vec<&str> = sentences.iter().map(String::as_str).collect();
    assert_eq!(encoders.len(), 2);
    for (name, Embedded { cut, cosines }) in encoders {
        let model = open_similarity(folder(&name)).unwrap_or_else(|error| panic!("{error}"));
        let found = model.matrix(&texts).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((found.nrows(), model.truncated()), (cosines.len(), cut), "{name}");
        for ((i, j), &found) in found.indexed_iter() {
            assert_near(found, cosines[i][j].max(0.0), 1e-5, &format!("{name}, {i} and {j}"));
        }
    }
}

#[test]
fn a_pair_is_judged_alike_alone_and_among_others() {
    let Golden { pairs, .. } = golden();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    for name in ["bert", "deberta", "modernbert", "roberta"] {
        let model = NliClassifier::open(&folder(name)).expect("golden");
        let together = model.judge(&pairs).expect("judged");
        assert_eq!(together, model.judge(&pairs).expect("judged"), "{name}: the same input gives the same bits");
        for (pair, together) in pairs.iter().zip(&together) {
            let alone = model.judge(&[*pair]).expect("judged");
            (0..3).for_each(|relation| assert_near(parts(&alone[0])[relation], parts(together)[relation], 1e-6, name));
        }
    }
}

#[test]
fn the_order_and_repetition_of_texts_do_not_matter() {
    let model = SentenceEncoder::open(&folder("minilm")).expect("golden");
    let (forth, back) = (["Paris.", "", "It is Lyon, in the south.", "Paris."], ["Paris.", "It is Lyon, in the south.", "", "Paris."]);
    let (one, other) = (model.matrix(&forth).expect("texts"), model.matrix(&back).expect("texts"));
    for ((i, j), &found) in one.indexed_iter() {
        assert_near(found, other[[3 - i, 3 - j]], 1e-6, "reversed");
        assert!((0.0..=1.0).contains(&found) && found == one[[j, i]], "{found}");
    }
    assert_near(one[[0, 3]], 1.0, 1e-12, "repeated");
    assert_eq!(model.matrix(&[]).expect("nothing").dim(), (0, 0));
}
