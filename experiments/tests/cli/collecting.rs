//! `detect collect`: records from a server that fails in every way, and work that goes on where it stopped.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use crate::support::openai::{Asked, Mock, Reply, honest, prompt};
use crate::support::outcome::ended;
use crate::support::signals::{lines_of, signal_when, start};
use crate::support::{Folder, coppice, done, json_of, refused, stderr};

fn questions(count: usize) -> String {
    (0..count).map(|number| format!("{{\"id\":\"q{number}\",\"prompt\":\"p{number}\",\"label\":{}}}\n", number % 2)).collect()
}

fn collect(folder: &Folder, server: &str, options: &[&str]) -> Command {
    let (input, output) = (folder.arg("q.jsonl"), folder.arg("r.jsonl"));
    let mut command = coppice(["detect", "collect", "--server", server, "--input", &input, "--output", &output]);
    for (option, value) in [("--samples", "2"), ("--retries", "0"), ("--timeout", "5")] {
        if !options.contains(&option) {
            command.args([option, value]);
        }
    }
    command.args(options);
    command
}

fn folder_of(count: usize) -> Folder {
    let folder = Folder::new();
    folder.write("q.jsonl", questions(count));
    folder
}

fn ids(folder: &Folder) -> Vec<String> {
    folder.lines("r.jsonl").iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn questions_become_records_that_can_be_scored() {
    let (folder, mock) = (folder_of(5), Mock::honest());
    let summary = json_of(&mut collect(&folder, &mock.address, &["--json"]));
    assert_eq!((summary["records"].as_u64(), summary["failed"].as_u64()), (Some(5), Some(0)));
    assert_eq!(ids(&folder), ["q0", "q1", "q2", "q3", "q4"], "in the order of the input");
    let record = &folder.lines("r.jsonl")[3];
    assert_eq!(
        (&record["response"], &record["label"], &record["samples"][1]["text"]),
        (&"On p3".into(), &1.into(), &"Idea 2 on p3".into())
    );
    assert_eq!(folder.names(), ["q.jsonl", "r.jsonl"], "the journal is gone");
    done(&mut coppice(["detect", "score", "--input", &folder.arg("r.jsonl"), "--output", &folder.arg("v.jsonl"), "--scores", "msp"]));
    let msp = folder.lines("v.jsonl")[0]["scores"]["msp"].as_f64().unwrap();
    assert!((msp - 0.3).abs() < 1e-12, "two words, of -0.1 and -0.2: {msp}");
    let told = refused(&mut collect(&folder, &mock.address, &[]));
    assert!(told.contains("r.jsonl exists") && told.contains("--resume"), "{told}");
}

/// Every third question meets another fault, and a line is no question.
fn faulty(asked: &Asked) -> Reply {
    match prompt(asked).as_str() {
        "p1" => Reply::Status(500, "", "no".into()),
        "p3" => Reply::Cut(honest(asked)),
        "p5" => Reply::Text("<html>".into()),
        "p7" => Reply::Hang(Duration::from_millis(900)),
        "p9" => Reply::Drop,
        _ => Reply::Json(honest(asked)),
    }
}

#[test]
fn failing_items_are_told_and_tried_again_on_request() {
    let (folder, mock) = (folder_of(12), Mock::start(faulty));
    folder.write("q.jsonl", questions(12) + "rubbish\n");
    let output = ended(&mut collect(&folder, &mock.address, &["--timeout", "0.5"]), 1);
    let lines = folder.lines("r.jsonl");
    let failed: Vec<usize> = (0..13).filter(|&line| lines[line]["error"].is_string()).collect();
    assert_eq!((failed, lines.len()), (vec![1, 3, 5, 7, 9, 12], 13));
    for (line, expected) in [
        (1, "answers 500: no"),
        (3, "broke off"),
        (5, "a web page"),
        (7, "no whole answer within 0.5 s"),
        (9, "broke off"),
        (12, "line 13: "),
    ] {
        let told = lines[line]["error"].as_str().unwrap();
        assert!(told.contains(expected), "{told}");
    }
    assert_eq!(stderr(&output).lines().count(), 5, "a sentence each: {}", stderr(&output));
    let good = Mock::honest();
    ended(&mut collect(&folder, &good.address, &["--resume"]), 1);
    assert_eq!(good.asked().len(), 2 * 5, "what was done is not asked again");
    assert_eq!(folder.lines("r.jsonl").iter().filter(|line| line["error"].is_string()).count(), 1, "rubbish stays rubbish");
    assert_eq!(folder.names(), ["q.jsonl", "r.jsonl"]);
}

#[test]
fn interrupted_work_is_kept_and_goes_on() {
    let (folder, undisturbed) = (folder_of(12), folder_of(12));
    let slow = Mock::start(|_| Reply::Late(Duration::from_millis(60)));
    let journal = folder.path(".r.jsonl.journal");
    for (signal, finished) in [(libc::SIGINT, 2), (libc::SIGTERM, 4), (libc::SIGKILL, 6)] {
        let output = signal_when(start(&mut collect(&folder, &slow.address, &["--resume", "--concurrency", "1"])), signal, || {
            lines_of(&journal) > finished
        });
        if signal != libc::SIGKILL {
            assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
            assert!(stderr(&output).contains("finished items are kept, --resume goes on"), "{}", stderr(&output));
        }
        assert_eq!(folder.names(), [".r.jsonl.journal", "q.jsonl"]);
    }
    let kept = lines_of(&journal) - 1;
    // A crash in the middle of a write.
    std::fs::OpenOptions::new().append(true).open(&journal).unwrap().write_all(b"{\"id\":\"q9\",\"resp").unwrap();
    let told = refused(&mut collect(&folder, &slow.address, &[]));
    assert!(told.contains("interrupted run") && told.contains("--resume"), "{told}");
    let told = refused(&mut collect(&folder, &slow.address, &["--resume", "--temperature", "0.7"]));
    assert!(told.contains("is of other options"), "{told}");
    let quick = Mock::honest();
    done(&mut collect(&folder, &quick.address, &["--resume", "--concurrency", "3"]));
    assert_eq!(quick.asked().len(), 2 * (12 - kept), "what was done is not asked again");
    done(&mut collect(&undisturbed, &quick.address, &[]));
    assert_eq!(folder.read("r.jsonl"), undisturbed.read("r.jsonl"));
    assert_eq!(folder.names(), ["q.jsonl", "r.jsonl"]);
}

#[test]
fn no_more_items_are_open_than_allowed() {
    for concurrency in [1, 3] {
        let (folder, mock) = (folder_of(9), Mock::start(|_| Reply::Late(Duration::from_millis(40))));
        done(&mut collect(&folder, &mock.address, &["--concurrency", &concurrency.to_string()]));
        assert_eq!(mock.peak(), concurrency);
    }
}

#[test]
fn a_failing_server_leaves_a_line_for_every_item() {
    let (folder, mock) = (folder_of(30), Mock::start(|_| Reply::Status(503, "", "loading".into())));
    ended(&mut collect(&folder, &mock.address, &[]), 1);
    assert!(folder.lines("r.jsonl").iter().all(|line| line["error"].as_str().is_some_and(|told| told.contains("answers 503: loading"))));
    assert_eq!(ids(&folder).len(), 30);
}

#[test]
fn a_failure_may_pass() {
    let (folder, mock) = (
        folder_of(1),
        Mock::start(|asked| if asked.number == 0 { Reply::Status(503, "", String::new()) } else { Reply::Json(honest(asked)) }),
    );
    done(&mut collect(&folder, &mock.address, &["--retries", "1"]));
    assert_eq!(folder.lines("r.jsonl")[0]["response"], "On p0");
}

#[test]
fn a_key_goes_to_the_server_and_nowhere_else() {
    let folder = folder_of(2);
    let mock = Mock::start(|asked| match asked.headers.contains("bearer sk-secret") {
        true => Reply::Json(honest(asked)),
        false => Reply::Status(401, "", format!("{{\"error\":\"denied: {}\"}}", asked.headers.replace('\r', "").replace('\n', " "))),
    });
    let keyed = |key: &str| {
        let mut command = collect(&folder, &mock.address, &["--api-key-env", "SOME_KEY"]);
        command.env("SOME_KEY", key);
        command
    };
    let told = refused(&mut keyed("sk-wrong"));
    assert!(told.contains("answers 401: denied") && !told.contains("sk-wrong"), "{told}");
    assert_eq!(folder.names(), ["q.jsonl"], "nothing was finished, nothing is left");
    let output = done(&mut keyed("sk-secret"));
    assert!(!stderr(&output).contains("secret") && !folder.read("r.jsonl").contains("secret"));
    let told =
        refused(collect(&folder, &mock.address, &["--overwrite", "--api-key-env", "NOT_SET_ANYWHERE"]).env_remove("NOT_SET_ANYWHERE"));
    assert!(told.contains("NOT_SET_ANYWHERE"), "{told}");
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_written() {
    let (folder, mock) = (folder_of(1), Mock::honest());
    let nobody = { format!("http://{}", std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()) };
    let cases: [(&str, &[&str], &str); 7] = [
        (&nobody, &[], "cannot reach http://127.0.0.1:"),
        ("localhost", &[], "is no server's address"),
        (&mock.address, &["--extra", "[1]"], "--extra is no JSON object"),
        (&mock.address, &["--timeout", "0"], "--timeout is 0"),
        (&mock.address, &["--temperature", "NaN"], "--temperature is NaN"),
        (&mock.address, &["--variants", "personna"], "unknown variation `personna`"),
        (&mock.address, &["--max-new-tokens", "0"], "--max-new-tokens is 0"),
    ];
    for (server, options, expected) in cases {
        let told = refused(&mut collect(&folder, server, options));
        assert!(told.contains(expected), "{told}");
    }
    folder.write("q.jsonl", "");
    assert!(refused(&mut collect(&folder, &mock.address, &[])).contains("q.jsonl is empty"));
    assert_eq!(folder.names(), ["q.jsonl"]);
}

#[test]
fn the_engine_answers_by_the_same_command() {
    let folder = Folder::with_model();
    let long = "x".repeat(500);
    let chat = r#"{"id":"chat","messages":[{"role":"user","content":"c"}]}"#;
    let kept = r#"{"id":"kept","prompt":"why","response":"r","label":1,"samples":[{"text":"s"}],"person":"p"}"#;
    folder.write("q.jsonl", format!("{}{{\"id\":\"long\",\"prompt\":\"{long}\"}}\n{chat}\n{kept}\n", questions(3)));
    let collect = |options: &[&str]| {
        let (model, input, output) = (folder.arg("model"), folder.arg("q.jsonl"), folder.arg("r.jsonl"));
        let mut command = coppice(["detect", "collect", "--model", &model, "--input", &input, "--output", &output]);
        command.args(["--samples", "2", "--max-new-tokens", "4", "--traces", "attention", "--variants", "persona"]).args(options);
        command
    };
    ended(&mut collect(&[]), 1);
    let records = folder.lines("r.jsonl");
    for record in &records[..3] {
        let tokens = record["tokens"].as_array().unwrap().len();
        assert!(tokens > 0 && record["token_entropies"].as_array().unwrap().len() == tokens && record["attention"]["rauq"].is_array());
        assert_eq!((record["samples"].as_array().unwrap().len(), record["variants"].as_array().unwrap().len()), (2, 2));
        assert_eq!(record["variants"][0]["samples"].as_array().unwrap().len(), 1);
    }
    assert!(records[3]["error"].as_str().unwrap().contains("context"), "{}", records[3]);
    assert!(records[4]["error"].as_str().unwrap().contains("--chat"), "{}", records[4]);
    assert_eq!(
        (&records[5]["response"], &records[5]["person"], &records[5]["samples"][0]["text"]),
        (&"r".into(), &"p".into(), &"s".into())
    );
    assert_eq!(records[5]["samples"].as_array().unwrap().len(), 2);
    ended(&mut collect(&["--overwrite", "--prompts-at-a-time", "1"]), 1);
    let without_time = |mut records: Vec<serde_json::Value>| {
        records.iter_mut().for_each(|record| record["source"] = serde_json::Value::Null);
        records.truncate(3);
        records
    };
    assert_eq!(without_time(folder.lines("r.jsonl")), without_time(records), "the batch makes no difference");
    let told =
        stderr(&ended(&mut coppice(["detect", "collect", "--input", &folder.arg("q.jsonl"), "--output", &folder.arg("s.jsonl")]), 2));
    assert!(told.contains("--server") && told.contains("--model"), "{told}");
}
