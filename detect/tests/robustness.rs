//! From the bytes of a file to verdicts: what entropy has to be where it is known, and nothing that makes a panic or a score that is no number.

use coppice_detect::calibration::Platt;
use coppice_detect::reader::{parse_line, read_records};
use coppice_detect::record::{Attention, Hidden, Judged};
use coppice_detect::{Record, Sample, Variant, score_record, scores};
use proptest::prelude::*;
use serde_json::json;

const LINE: &str = r#"{"id":"a","prompt":"p","response":"r é","tokens":[1,2],"token_logprobs":[-0.5,-1.0],"token_entropies":[0.1,0.0],
"top_logprobs":[[[1,-0.5]],[]],"token_texts":["r"," é"],"top_texts":[["r"],[]],"token_self_certainties":[0.5,2.0],"token_renyi":[0.25,1.0],
"unconditional_logprobs":[0,-3.5],"attention":{"rauq":[1.5],"score":[-2.0,-1.0],"lookback":[0.5,0.25]},"judged":{"p_true":0.5,"verbalised":null,
"support":[[0,0.5]]},"hidden":[{"layer":3,"mean":[0.5,1.0],"last":[1.0,-1.0]}],"samples":[{"text":"s","token_logprobs":[-1e-3]},{"text":"","token_logprobs":[-700.0]}],"label":1}"#;

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

/// A record of `count` tokens with every field a one-pass score reads.
fn traced(count: usize) -> Record {
    Record {
        id: "a".into(),
        response: "é🙂".repeat(count),
        tokens: Some(vec![-1; count]),
        token_logprobs: Some(vec![-0.5; count]),
        token_entropies: Some(vec![0.25; count]),
        top_logprobs: Some(vec![vec![(-1, -0.5), (-1, -2.0)]; count]),
        token_texts: Some(vec!["é🙂".into(); count]),
        top_texts: Some(vec![vec!["é🙂".into(), String::new()]; count]),
        token_self_certainties: Some(vec![3.0; count]),
        token_renyi: Some(vec![1.0; count]),
        unconditional_logprobs: Some(vec![-4.0; count]),
        attention: Some(Attention { rauq: vec![1.5], score: vec![-2.0, -3.0], lookback: vec![0.5] }),
        hidden: vec![Hidden { layer: 3, mean: vec![0.5], last: vec![1.0], ..Hidden::default() }],
        judged: Some(Judged { p_true: Some(0.0), verbalised: Some(1.0), support: Some(vec![vec![0.5, 1.0]; 2]), ..Judged::default() }),
        ..Record::default()
    }
}

/// What the check says of a record of three tokens after a change.
fn complaint(change: impl FnOnce(&mut Record)) -> String {
    let mut record = traced(3);
    change(&mut record);
    record.check().expect_err("an inconsistency").to_string()
}

#[test]
fn one_token_and_thousands_are_scored_by_every_one_pass_score() {
    for count in [1, 5000] {
        let record = traced(count);
        assert_eq!(record.check(), Ok(()));
        let verdict = score_record(&record, scores::registry());
        let one_pass = scores::registry().iter().filter(|scorer| scorer.single_pass() && scorer.learned().is_none());
        one_pass.for_each(|scorer| assert!(verdict.scores.contains_key(scorer.name()), "{}: {:?}", scorer.name(), verdict.missing));
        assert!(["pmi", "p_true", "verbalised"].iter().all(|name| verdict.scores[*name].is_finite()));
    }
}

#[test]
fn an_empty_response_is_consistent_and_has_no_score_of_tokens() {
    let record = Record { response: String::new(), attention: Some(Attention::default()), ..traced(0) };
    assert_eq!(record.check(), Ok(()));
    let verdict = score_record(&record, scores::registry());
    assert!(
        ["msp", "min_k", "top2_margin", "self_certainty", "renyi", "pmi", "rauq"].iter().all(|name| !verdict.scores.contains_key(*name))
    );
}

#[test]
fn every_list_of_tokens_has_one_entry_a_token() {
    let shortened: [fn(&mut Record); 9] = [
        |record| record.tokens = Some(vec![1]),
        |record| record.token_logprobs = Some(vec![-1.0; 2]),
        |record| record.token_entropies = Some(vec![1.0; 4]),
        |record| record.top_logprobs = Some(vec![]),
        |record| record.token_texts = Some(vec!["a".into()]),
        |record| record.top_texts = Some(vec![vec![]]),
        |record| record.token_self_certainties = Some(vec![1.0]),
        |record| record.token_renyi = Some(vec![1.0; 2]),
        |record| record.unconditional_logprobs = Some(vec![]),
    ];
    shortened.into_iter().for_each(|change| assert!(complaint(change).ends_with("both are one entry a token")));
    assert_eq!(
        complaint(|record| record.token_renyi = Some(vec![1.0])),
        "token_self_certainties has 3 entries but token_renyi has 1; both are one entry a token"
    );
}

#[test]
fn every_alternative_has_a_text_and_every_row_of_support_each_sample() {
    assert_eq!(
        complaint(|record| record.top_texts = Some(vec![vec!["a".into(); 2], vec!["a".into()], vec![]])),
        "top_logprobs[1] has 2 entries but top_texts[1] has 1; they go together entry by entry"
    );
    let ragged = Judged { support: Some(vec![vec![0.0, 1.0], vec![0.0]]), ..Judged::default() };
    assert_eq!(
        complaint(|record| record.judged = Some(ragged)),
        "judged.support[0] has 2 entries but judged.support[1] has 1; they go together entry by entry"
    );
}

#[test]
fn what_is_no_number_is_named_wherever_it_stands() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let list = || Some(vec![-0.0, value, -0.0]);
        let hidden = || vec![Hidden { last: vec![0.0, value as f32], ..Hidden::default() }];
        let sample = || vec![Sample { hidden: hidden(), ..Sample::default() }];
        let attention = |record: &mut Record| record.attention.take().expect("traced");
        let found = [
            ("token_self_certainties[1]", complaint(|record| record.token_self_certainties = list())),
            ("token_renyi[1]", complaint(|record| record.token_renyi = list())),
            ("unconditional_logprobs[1]", complaint(|record| record.unconditional_logprobs = list())),
            ("attention.rauq[0]", complaint(|record| record.attention = Some(Attention { rauq: vec![value], ..attention(record) }))),
            ("attention.score[0]", complaint(|record| record.attention = Some(Attention { score: vec![value], ..attention(record) }))),
            (
                "attention.lookback[0]",
                complaint(|record| record.attention = Some(Attention { lookback: vec![value], ..attention(record) })),
            ),
            ("hidden[0].last[1]", complaint(|record| record.hidden = hidden())),
            ("samples[0].hidden[0].last[1]", complaint(|record| record.samples = sample())),
            (
                "variants[0].samples[0].hidden[0].last[1]",
                complaint(|record| record.variants = vec![Variant { samples: sample(), ..Variant::default() }]),
            ),
        ];
        found.iter().for_each(|(place, sentence)| assert_eq!(sentence, &format!("{place} is {value}, not a finite number")));
    }
}

#[test]
fn a_number_too_large_for_a_hidden_state_is_explained() {
    let error = parse_line(br#"{"id":"a","prompt":"p","response":"r","hidden":[{"layer":0,"mean":[1e300]}]}"#).expect_err("beyond f32");
    assert_eq!(error.to_string(), "not a record: number out of range at column 72");
}

#[test]
fn divergences_and_log_probabilities_have_a_sign() {
    assert_eq!(complaint(|record| record.token_renyi = Some(vec![0.0, 0.0, -0.1])), "token_renyi[2] is -0.1: a divergence is at least 0");
    assert_eq!(
        complaint(|record| record.unconditional_logprobs = Some(vec![0.0, 0.5, 0.0])),
        "unconditional_logprobs[1] is 0.5: a log-probability is at most 0"
    );
    let rounded = Record { token_self_certainties: Some(vec![-1e-6; 3]), ..traced(3) };
    assert_eq!(rounded.check(), Ok(()));
}

#[test]
fn judgements_are_probabilities() {
    for value in [-0.01, 1.01, 1e300, f64::NAN, f64::INFINITY] {
        let of = |name: &str, judged: Judged| {
            assert_eq!(complaint(|record| record.judged = Some(judged)), format!("judged.{name} is {value}; it is a probability, 0 to 1"));
        };
        of("p_true", Judged { p_true: Some(value), ..Judged::default() });
        of("p_true_sampling", Judged { p_true_sampling: Some(value), ..Judged::default() });
        of("verbalised", Judged { verbalised: Some(value), ..Judged::default() });
        of("support[1][0]", Judged { support: Some(vec![vec![0.5], vec![value]]), ..Judged::default() });
    }
}
