//! Data sets as records: what rows become, broken rows, and the numbers of the shared data (skipped, saying so, where it is not there).

use std::path::{Path, PathBuf};

use coppice_detect::adapters::{ADAPTERS, Adapter, Item, Kind, find, read, read_lines};

fn parse(name: &str, lines: &str) -> Vec<Result<Item, String>> {
    read_lines(find(name).expect("listed"), lines.as_bytes()).into_iter().map(|item| item.map_err(|error| error.to_string())).collect()
}

fn items(name: &str, lines: &str) -> Vec<Item> {
    parse(name, lines).into_iter().map(|item| item.expect("a good row")).collect()
}

#[test]
fn sentences_carry_grades_and_the_samples_of_their_passage() {
    let line = r#"{"row":3,"wiki_bio_text":"w","passage":"A. B.","sentences":["A.","B."],"annotation":["minor_inaccurate","accurate"],"samples":["s"]}"#;
    let item = &items("selfcheck_wikibio", line)[0];
    assert_eq!((item.record.id.as_str(), item.record.response.as_str()), ("selfcheck_wikibio/3", "A. B."));
    assert_eq!(item.units.iter().map(|unit| (unit.label, unit.grade)).collect::<Vec<_>>(), [(Some(1), Some(0.5)), (Some(0), Some(0.0))]);
    let records: Vec<_> = item.unit_records(Kind::Sentence).collect();
    assert_eq!((records[1].id.as_str(), records[1].response.as_str(), records[1].label), ("selfcheck_wikibio/3/sentence/1", "B.", Some(0)));
    assert_eq!(records[1].sample_texts(), ["s"]);
}

#[test]
fn a_broken_row_is_an_item_with_its_line() {
    let good = r#"{"row":0,"topic":"t","negated":false,"lang":"en","statement":"Rome is in Italy.","label":1,"group":"g"}"#;
    let found = parse("true_false_statements", &format!("{good}\n\nrubbish\n{{}}\n{}", good.replace("\"row\":0", "\"row\":1")));
    assert_eq!(found.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true]);
    assert_eq!(found[0].as_ref().expect("good").record.label, Some(0), "a true statement is right");
    assert!(found[1].as_ref().expect_err("broken").starts_with("line 3: expected value"));
    assert!(found[2].as_ref().expect_err("broken").starts_with("line 4: missing field `row`"));
}

#[test]
fn lists_that_disagree_are_named() {
    let line = r#"{"row":1,"domain":"d","user_query":"q","chatgpt_response":"r","chatgpt_fact":["a","b"],"human_judge":["true"]}"#;
    assert_eq!(parse("halueval2_human", line), [Err("line 1: human_judge has 1 entries but chatgpt_fact has 2".to_owned())]);
}

#[test]
fn annotators_of_one_summary_vote() {
    let row = |worker: &str, kind: &str, span: &str| {
        format!(
            r#"{{"row":0,"bbcid":"7","system":"S","summary":"one two","hallucination_type":"{kind}","hallucinated_span":"{span}","worker_id":"{worker}"}}"#
        )
    };
    let rows = [row("a", "extrinsic", "one"), row("a", "intrinsic", "two"), row("b", "NULL", ""), row("c", "NULL", "")];
    let found = items("xsum_hallucination", &rows.join("\n"));
    assert_eq!(
        (found.len(), found[0].record.label, found[0].units.len()),
        (1, Some(0), 2),
        "two spans of one annotator are one vote of three"
    );
    let tied = items("xsum_hallucination", &rows[..3].join("\n"));
    assert_eq!(tied[0].record.label, None, "one to one");
}

#[test]
fn undecided_labels_stay_absent() {
    let line = |label: &str| {
        format!(
            r#"{{"row":0,"prompt":"p","response":"r","response_label":{label},"claims":["c"],"claim_labels":["unknown"],"source":"s"}}"#
        )
    };
    let item = &items("factbench_claims", &line("\"NA\""))[0];
    assert_eq!((item.record.label, item.units[0].label), (None, None));
    assert_eq!(items("factbench_claims", &line("false"))[0].record.label, Some(1));
    assert!(parse("factbench_claims", &line("3"))[0].as_ref().expect_err("no label").contains("the label is 3; expected true, false"));
}

/// The file of a data set in the folder `COPPICE_DATA`, or `../shared/data` beside the workspace.
fn path_of(adapter: &Adapter) -> PathBuf {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    std::env::var_os("COPPICE_DATA").map_or_else(beside, PathBuf::from).join(adapter.file)
}

/// Of a data set: items, labelled responses, labelled units, bad rows; counted in Python from the rows as they stand.
const COUNTS: [(&str, [usize; 4]); 18] = [
    ("selfcheck_wikibio", [83, 0, 668, 0]),
    ("factscore_human", [286, 0, 7965, 0]),
    ("refchecker_human", [1260, 0, 6582, 0]),
    ("halueval_general", [2707, 2707, 570, 0]),
    ("halueval_qa_seed", [1156, 1156, 0, 0]),
    ("halueval2_human", [592, 0, 2255, 0]),
    ("factbench_claims", [95, 93, 576, 0]),
    ("factcheck_gpt", [64, 62, 631, 0]),
    ("truthfulqa_en", [3570, 3570, 0, 0]),
    ("true_false_statements", [9100, 9100, 0, 0]),
    ("counterfact_true_false", [19054, 19054, 0, 0]),
    ("begin", [2818, 2770, 0, 0]),
    ("xsum_hallucination", [1515, 1514, 6242, 0]),
    ("xsum_factuality", [1131, 1131, 0, 0]),
    ("triviaqa_3k", [1801, 0, 0, 0]),
    ("nq_open", [2210, 0, 0, 0]),
    ("simpleqa", [2577, 0, 0, 0]),
    ("entityquestions", [13257, 0, 0, 0]),
];

/// As [`COUNTS`], of a file.
fn counts(adapter: &Adapter, path: &Path) -> [usize; 4] {
    let (good, bad): (Vec<_>, Vec<_>) = read(adapter, path).expect("opens").into_iter().partition(Result::is_ok);
    let good: Vec<Item> = good.into_iter().flatten().collect();
    let labelled = good.iter().filter(|item| item.record.label.is_some()).count();
    let units = good.iter().flat_map(|item| &item.units).filter(|unit| unit.label.is_some()).count();
    [good.len(), labelled, units, bad.len()]
}

#[test]
fn every_row_of_the_shared_data_is_read() {
    assert_eq!(COUNTS.map(|(name, _)| name).as_slice(), ADAPTERS.iter().map(|adapter| adapter.name).collect::<Vec<_>>());
    for (adapter, (name, expected)) in ADAPTERS.iter().zip(COUNTS) {
        let path = path_of(adapter);
        if path.exists() {
            assert_eq!(counts(adapter, &path), expected, "{name}");
        } else {
            eprintln!("SKIPPED {name}: no {}; set COPPICE_DATA to the shared data", path.display());
        }
    }
}
