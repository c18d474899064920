//! From the bytes of a file to verdicts: what entropy has to be where it is known, and nothing that makes a panic or a score that is no number.

use coppice_detect::calibration::Platt;
use coppice_detect::reader::{parse_line, read_records};
use coppice_detect::{score_record, scores};
use proptest::prelude::*;
use serde_json::json;

const LINE: &str = r#"{"id":"a","prompt":"p","response":"r é","tokens":[1,2],"token_logprobs":[-0.5,-1.0],"token_entropies":[0.1,0.0],
"top_logprobs":[[[1,-0.5]],[]],"samples":[{"text":"s","token_logprobs":[-1e-3]},{"text":"","token_logprobs":[-700.0]}],"label":1}"#;

/// Both semantic entropies of a record with these samples, read from its line of JSON.
fn semantic_entropies(texts: &[String]) -> [f64; 2] {
    let samples: Vec<_> = texts.iter().map(|text| json!({ "text": text, "token_logprobs": [-1.0, -0.5] })).collect();
    let line = json!({ "id": "a", "prompt": "p", "response": "r", "samples": samples }).to_string();
    let verdict = score_record(&parse_line(line.as_bytes()).expect("a record"), scores::registry());
    ["discrete_semantic_entropy", "semantic_entropy"].map(|name| verdict.scores[name])
}

#[test]
fn ten_distinct_answers_have_entropy_ln_ten() {
    let texts: Vec<String> = (0..10).map(|i| format!("answer {i}")).collect();
    semantic_entropies(&texts).iter().for_each(|entropy| assert!((entropy - 10f64.ln()).abs() < 1e-12, "{entropy}"));
}

#[test]
fn ten_equal_answers_have_none() {
    // A cluster "probability" above 1, as sums over repeats give, would make the entropy negative.
    assert_eq!(semantic_entropies(&vec!["Paris".to_owned(); 10]), [0.0, 0.0]);
}

#[test]
fn probabilities_stay_probabilities_whatever_the_scores() {
    let wrong = [true, false, true, false];
    for scores in [[1e300, -1e300, 1e300, -1e300], [1e-300, 2e-300, 3e-300, 0.0], [1.0, 0.0, 1e150, 0.0], [0.0; 4]] {
        let Ok(fitted) = Platt::fit(&scores, &wrong) else { continue };
        assert!(scores.iter().all(|&score| (0.0..=1.0).contains(&fitted.probability(score))), "{scores:?}: {fitted:?}");
    }
}

proptest! {
    /// A byte changed, added or dropped anywhere gives a record that is scored in finite numbers, or a sentence of one line.
    #[test]
    fn a_damaged_line_is_scored_or_explained(place in any::<prop::sample::Index>(), byte in any::<u8>(), change in 0..3) {
        let mut line = LINE.replace('\n', "").into_bytes();
        let place = place.index(line.len());
        match change {
            0 => line[place] = byte,
            1 => line.insert(place, byte),
            _ => drop(line.remove(place)),
        }
        for (_, item) in read_records(line.as_slice()) {
            match item {
                Err(error) => prop_assert!(!error.to_string().contains('\n') && error.to_string().starts_with("line ")),
                Ok(record) => {
                    let verdict = score_record(&record, scores::registry());
                    prop_assert_eq!(verdict.scores.len() + verdict.missing.len(), scores::registry().len());
                    prop_assert!(verdict.scores.values().all(|score| score.is_finite()));
                }
            }
        }
    }
}

#[test]
fn a_line_nested_without_end_is_explained() {
    let error = parse_line("[".repeat(100_000).as_bytes()).expect_err("no record");
    assert!(error.to_string().starts_with("not a record: "), "{error}");
}
