//! Parts of responses against Python's `str`, tokenizers and rouge_score (`golden/spans.py`), what leaves them unchanged, and public data with
//! annotated spans (skipped, saying so, where it is not there).

use std::collections::BTreeMap;
use std::path::PathBuf;

use coppice_detect::entailment::Table;
use coppice_detect::record::Judged;
use coppice_detect::spans::{ABSENT, FIRST_TOKEN_NLL, MAX_TOKEN_NLL, Part, SELFCHECK_PROMPT, Span, parts};
use coppice_detect::{Case, Record, Sample, Setup, score_case, score_record, scores};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Golden {
    record: Record,
    sentences: Vec<Part>,
    claims: Vec<Part>,
    spans: Vec<Place>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Place {
    text: String,
    start: usize,
    end: usize,
    score: f64,
    support: Option<f64>,
}

fn near(a: Option<f64>, b: Option<f64>) -> bool {
    a.zip(b).map_or(a == b, |(a, b)| (a - b).abs() < 1e-9)
}

#[track_caller]
fn assert_parts(found: &[Part], expected: &[Part]) {
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!((&found.text, found.start, found.end), (&expected.text, expected.start, expected.end));
        assert!(found.scores.keys().eq(expected.scores.keys()), "{found:?}");
        let scores = found.scores.values().zip(expected.scores.values()).all(|(&a, &b)| near(Some(a), Some(b)));
        assert!(scores && near(found.support, expected.support), "{found:?}, expected {expected:?}");
    }
}

#[test]
fn parts_tokens_and_support_equal_python() {
    let golden: Vec<Golden> = serde_json::from_str(include_str!("golden/spans.json")).expect("written by spans.py");
    for Golden { record, sentences, claims, spans } in &golden {
        assert_eq!(record.check(), Ok(()));
        let found = parts(&Case::new(record));
        assert_parts(&found.sentences, sentences);
        assert_parts(&found.claims, claims);
        assert_eq!(found.spans.len(), spans.len(), "{:#?}", found.spans);
        for (found, expected) in found.spans.iter().zip(spans) {
            assert_eq!((&found.text, found.start, found.end), (&expected.text, expected.start, expected.end));
            assert!(near(Some(found.score), Some(expected.score)) && near(found.support, expected.support), "{found:?}, {expected:?}");
        }
    }
    assert_eq!(golden.iter().map(|golden| golden.claims.len() + golden.spans.len()).sum::<usize>(), 35);
}

#[test]
fn a_sentence_that_is_the_response_has_the_response_s_scores() {
    let golden: Vec<Golden> = serde_json::from_str(include_str!("golden/spans.json")).expect("written by spans.py");
    let case = Case::new(&golden[2].record);
    let found = parts(&case);
    for name in ["first_token_entropy", "mean_token_entropy", MAX_TOKEN_NLL] {
        let whole = scores::find(name).expect("registered").score(&case).expect("traces");
        assert!((found.sentences[0].scores[name] - whole).abs() < 1e-12, "{name}");
    }
}

/// A response of one name, of which three of four samples know nothing.
fn paris() -> Record {
    let samples = ["It is Paris.", "Rome", "Oslo", ""].map(|text| Sample { text: text.into(), ..Sample::default() }).to_vec();
    Record { id: "a".into(), response: "It is Paris. It is.".into(), samples, ..Record::default() }
}

#[test]
fn without_traces_samples_tell_and_the_verdict_says_what_is_missing() {
    let record = paris();
    let verdict = score_case(&Case::new(&record), &[]).with_parts(&Case::new(&record));
    let [Span { text, start: 6, end: 11, score: 0.75, by, support: Some(0.25), .. }] = verdict.spans.as_slice() else {
        panic!("{:?}", verdict.spans)
    };
    assert_eq!((text.as_str(), by.as_str()), ("Paris", ABSENT));
    assert_eq!(verdict.missing, BTreeMap::from([("sentences[].scores".to_owned(), "token_texts".to_owned())]));
    let bare = Record { samples: Vec::new(), ..record };
    let verdict = score_record(&bare, &[]).with_parts(&Case::new(&bare));
    assert_eq!(verdict.missing["sentences[].support"], "samples (at least 1 needed, 0 found)");
    assert_eq!((verdict.claims.len(), verdict.spans.len()), (2, 0), "where claims are is known all the same");
}

#[test]
fn what_the_model_said_of_each_sentence_is_kept_with_it() {
    let judged = |rows: usize| Some(Judged { support: Some(vec![vec![1.0, 0.5, 0.0, 0.0]; rows]), ..Judged::default() });
    let score = |rows: usize| {
        let record = Record { judged: judged(rows), ..paris() };
        parts(&Case::new(&record)).sentences[0].scores.get(SELFCHECK_PROMPT).copied()
    };
    assert_eq!((score(2), score(3)), (Some(0.375), None), "rows of other sentences are left alone");
}

#[test]
fn a_judge_that_fails_is_named_and_the_rest_is_scored() {
    let other = br#"{"premise":"a","hypothesis":"b","entailment":1,"neutral":0,"contradiction":0}"#;
    let table = Table::read(other.as_slice()).expect("a table of other texts");
    let setup = Setup { entailment: Some(Box::new(table)), ..Setup::default() };
    let record = Record { token_texts: Some(vec!["It is Paris. It is.".into()]), token_logprobs: Some(vec![-1.0]), ..paris() };
    let found = parts(&Case::with(&record, &setup));
    assert!(found.missing["sentences[].support"].starts_with("a working back-end ("), "{:?}", found.missing);
    assert_eq!((found.spans[0].score, found.spans[0].by.as_str(), found.sentences[0].support), (1.0, FIRST_TOKEN_NLL, None));
}

#[test]
fn a_verdict_that_nobody_asked_for_parts_of_has_none() {
    let written = serde_json::to_value(score_record(&paris(), &[])).expect("plain data");
    assert_eq!((&written["claims"], &written["spans"], written.get("sentences")), (&Value::from([(); 0]), &Value::from([(); 0]), None));
}

proptest! {
    #[test]
    fn the_order_of_samples_and_their_repetition_do_not_matter(texts in prop::collection::vec("(a|Rome|1999|,|\\.| ){0,9}", 1..6)) {
        let record = |texts: Vec<String>| Record {
            response: "Rome, which was a city, fell. In 1999 a, and Rome.".into(),
            samples: texts.into_iter().map(|text| Sample { text, ..Sample::default() }).collect(),
            ..Record::default()
        };
        let twice = [texts.clone(), texts.iter().rev().cloned().collect()].concat();
        let (once, twice) = (record(texts), record(twice));
        let (once, twice) = (parts(&Case::new(&once)), parts(&Case::new(&twice)));
        assert_parts(&once.sentences, &twice.sentences);
        assert_parts(&once.claims, &twice.claims);
        prop_assert!(once.spans.iter().zip(&twice.spans).all(|(a, b)| a.text == b.text && near(a.support, b.support)));
    }

    /// Whatever the text: places are those of the words, parts are in order and apart, claims are within sentences, numbers are finite.
    #[test]
    fn any_response_is_taken_apart(response in "(\\PC|Ab|\\. |, and |; |, who |was|3 May 1900|\n|🙂|é){0,30}", cut in 0usize..40) {
        let letters: Vec<char> = response.chars().collect();
        let texts: Vec<String> = letters.chunks(3).map(|chunk| chunk.iter().collect()).chain(["".into()]).collect();
        let logprobs = Some(vec![-0.5; texts.len()]);
        let samples = vec![Sample { text: letters.iter().take(cut).collect(), ..Sample::default() }];
        let record = Record { response: response.clone(), token_texts: Some(texts), token_logprobs: logprobs, samples, ..Record::default() };
        let found = parts(&Case::new(&record));
        let slice = |start: usize, end: usize| letters[start..end].iter().collect::<String>();
        for list in [&found.sentences, &found.claims] {
            prop_assert!(list.is_sorted_by(|a, b| a.end <= b.start));
            prop_assert!(list.iter().all(|part| part.text == slice(part.start, part.end) && part.scores[MAX_TOKEN_NLL] == 0.5));
            prop_assert!(list.iter().all(|part| part.support.is_none_or(|support| (0.0..=1.0).contains(&support))));
        }
        prop_assert!(found.claims.iter().all(|claim| found.sentences.iter().any(|s| s.start <= claim.start && claim.end <= s.end)));
        prop_assert!(found.spans.is_sorted_by(|a, b| a.end <= b.start));
        prop_assert!(found.spans.iter().all(|span| span.text == slice(span.start, span.end) && span.score == 0.5));
    }
}

#[test]
fn long_responses_of_commas_or_of_nothing_but_names_take_no_time() {
    let began = std::time::Instant::now();
    for piece in ["a, ", "was, and was, ", "who, ", "Ab ", "of ", "1. ", ".", "é"] {
        let record = Record { response: piece.repeat(20_000), samples: vec![Sample::default(); 3], ..Record::default() };
        parts(&Case::new(&record));
    }
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

/// Rows of a data set with annotated spans, found in the folder `COPPICE_DATA`, or `../shared/data` beside the workspace.
fn rows(name: &str) -> Option<Vec<Value>> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let path = std::env::var_os("COPPICE_DATA").map_or_else(beside, PathBuf::from).join(format!("hallucination/{name}.jsonl.zst"));
    let Ok(packed) = std::fs::read(&path) else {
        eprintln!("SKIPPED: no {}; set COPPICE_DATA to the shared data", path.display());
        return None;
    };
    let text = zstd::decode_all(packed.as_slice()).expect("zstd");
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    Some(lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect())
}

/// A response whose tokens are its letters, and surprising within `marked` (characters) only.
fn marked(response: &str, marked: &std::ops::Range<usize>) -> Record {
    let logprobs = (0..response.chars().count()).map(|place| if marked.contains(&place) { -1.0 } else { 0.0 }).collect();
    let texts = response.chars().map(String::from).collect();
    Record { response: response.to_owned(), token_texts: Some(texts), token_logprobs: Some(logprobs), ..Record::default() }
}

/// The parts that share a letter with the annotated characters are those, and no others, that its surprise reaches. How many do.
fn reached(response: &str, annotated: &std::ops::Range<usize>) -> usize {
    let record = marked(response, annotated);
    let found = parts(&Case::new(&record));
    let shares = |start: usize, end: usize| start < annotated.end && annotated.start < end;
    for part in found.sentences.iter().chain(&found.claims) {
        assert_eq!(part.scores[MAX_TOKEN_NLL], f64::from(u8::from(shares(part.start, part.end))), "{response}: {part:?}");
    }
    found.claims.iter().filter(|part| part.scores[MAX_TOKEN_NLL] > 0.0).count()
}

/// Whose annotated places hold the annotated words: the data counts them from 0 or from 1. Counted in Python by slices of `str`.
#[test]
fn places_are_those_of_annotators_of_summaries() {
    let Some(rows) = rows("xsum_hallucination") else { return };
    let place = |row: &Value, name: &str| row[name].as_str().and_then(|place| place.parse::<usize>().ok());
    let (mut held, mut wide) = (0, 0);
    for row in rows.iter().filter(|row| row["hallucination_type"] != "NULL") {
        let (summary, words) = (row["summary"].as_str().expect("a text"), row["hallucinated_span"].as_str().expect("a text"));
        let (Some(start), Some(end)) = (place(row, "hallucinated_span_start"), place(row, "hallucinated_span_end")) else { continue };
        let slice = |range: &std::ops::Range<usize>| summary.chars().skip(range.start).take(range.len()).eq(words.chars());
        let Some(range) = [start.saturating_sub(1)..end - 1, start..end].into_iter().find(slice) else { continue };
        assert!(reached(summary, &range) > 0, "{summary}: {words}");
        held += 1;
        wide += usize::from(!summary.chars().take(start).all(|letter| letter.is_ascii()));
    }
    assert_eq!((held, wide), (5381, 38));
}

#[test]
fn spans_of_general_answers_are_reached() {
    let Some(rows) = rows("halueval_general") else { return };
    let mut held = 0;
    for row in &rows {
        let response = row["chatgpt_response"].as_str().expect("a text");
        for words in row["hallucination_spans"].as_array().expect("a list").iter().filter_map(Value::as_str) {
            let Some(place) = response.find(words).filter(|_| !words.trim().is_empty()) else { continue };
            let start = response[..place].chars().count();
            assert!(reached(response, &(start..start + words.chars().count())) > 0, "{response}: {words}");
            held += 1;
        }
    }
    assert_eq!(held, 507);
}
