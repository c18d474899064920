//! `detect data`, `detect bench --data` and judgements from a file.

use crate::support::{Folder, coppice, done, json_of, refused};

/// Statements of ten to nineteen letters, the longer ones false.
fn statements() -> String {
    let row = |i: usize| {
        let (statement, label) = ("x".repeat(10 + i), u8::from(i < 5));
        format!(r#"{{"row":{i},"topic":"t","negated":false,"lang":"en","statement":"{statement}","label":{label},"group":"g{i}"}}"#) + "\n"
    };
    (0..10).map(row).collect()
}

#[test]
fn data_sets_are_listed_measured_and_turned_into_records() {
    let folder = Folder::new();
    assert!(json_of(&mut coppice(["detect", "data", "--json"]))["data"].as_array().unwrap().len() >= 18);
    let path = folder.write("statements.jsonl", statements());
    let found = json_of(&mut coppice(["detect", "data", "true_false_statements", "--path", &path, "--json"]));
    let level = &found["data"]["levels"][0];
    assert_eq!((level["n"].as_u64(), level["length_auroc"]["estimate"].as_f64()), (Some(10), Some(1.0)), "{found}");
    let output = folder.arg("records.jsonl");
    done(&mut coppice(["detect", "data", "true_false_statements", "--path", &path, "--output", &output]));
    assert_eq!((folder.lines("records.jsonl").len(), folder.lines("records.jsonl")[9]["label"].as_u64()), (10, Some(1)));
    let bench =
        json_of(&mut coppice(["detect", "bench", "--data", "true_false_statements", "--path", &path, "--scores", "length", "--json"]));
    assert_eq!(bench["rows"][0]["auroc"]["estimate"].as_f64(), Some(1.0), "{bench}");
}

#[test]
fn a_bad_row_is_told_and_the_rest_is_read() {
    let folder = Folder::new();
    let path = folder.write("statements.jsonl", format!("rubbish\n{}", statements()));
    let output = coppice(["detect", "data", "true_false_statements", "--path", &path]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && told.contains("statements.jsonl: line 1: expected value"), "{told}");
}

#[test]
fn what_cannot_be_read_is_refused() {
    let mut unknown = coppice(["detect", "data", "true_false_statement"]);
    assert!(refused(&mut unknown).contains("did you mean `true_false_statements`?"));
    let mut nowhere = coppice(["detect", "data", "begin"]);
    assert!(refused(nowhere.env_remove("COPPICE_DATA")).contains("where does begin lie? Give --path FILE, or set COPPICE_DATA"));
    assert!(refused(&mut coppice(["detect", "bench"])).contains("expected --input R.jsonl or --data NAME"));
}

#[test]
fn judgements_come_from_a_file() {
    let folder = Folder::new();
    let record = r#"{"id":"a","prompt":"p","response":"Rome","samples":[{"text":"Rome"},{"text":"Oslo"}]}"#;
    let input = folder.write("records.jsonl", format!("{record}\n"));
    let judged = |premise: &str, hypothesis: &str| {
        format!(r#"{{"premise":"{premise}","hypothesis":"{hypothesis}","entailment":0.2,"neutral":0.2,"contradiction":0.6}}"#) + "\n"
    };
    let nli = folder.write("nli.jsonl", judged("Rome", "Oslo") + &judged("Oslo", "Rome"));
    let output = folder.arg("verdicts.jsonl");
    done(&mut coppice(["detect", "score", "--input", &input, "--output", &output, "--nli", &nli, "--scores", "luq"]));
    assert!((folder.lines("verdicts.jsonl")[0]["scores"]["luq"].as_f64().unwrap() - 0.75).abs() < 1e-12);
    let bad = folder.write("bad.jsonl", "{}\n");
    let mut command = coppice(["detect", "score", "--input", &input, "--output", &folder.arg("other.jsonl"), "--nli", &bad]);
    assert!(refused(&mut command).contains("line 1: missing field `premise`"));
}
