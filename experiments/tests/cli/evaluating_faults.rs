//! What goes wrong in an evaluation is told in one sentence each, and costs nothing else.

use crate::support::openai::{Mock, Reply, prompt, saying};
use crate::support::outcome::ended;
use crate::support::signals::{lines_of, signal_when, start};
use crate::support::{Folder, done, evaluation, refused, stderr, words};

#[test]
fn a_task_that_cannot_be_run_costs_the_others_nothing() {
    let folder = evaluation::folder();
    folder.write("data/sharealike/eval/boolq_validation.parquet", &std::fs::read(evaluation::path("rows.parquet")).unwrap()[..2000]);
    folder.write("data/eval/piqa_validation.jsonl", "{\"goal\":\"g\",\"sol1\":\"a\",\"label\":0}\n");
    let output = ended(&mut evaluation::eval(&folder, "arc_chalenge,boolq,piqa,sciq,winogrande", "--shots 0"), 1);
    let told = stderr(&output);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert!(lines[0].contains("unknown task `arc_chalenge` (did you mean `arc_challenge`?)"), "{told}");
    assert!(lines[1].contains("task boolq: ") && lines[1].contains("boolq_validation.parquet: no whole Parquet file"), "{told}");
    assert!(lines[2].contains("task piqa: eval/piqa_validation: no column `sol2`; there are goal, label, sol1"), "{told}");
    assert!(lines[3].contains("task sciq: no file ") && lines[3].contains("sciq_test"), "{told}");
    let results = evaluation::results(&folder);
    assert_eq!(results["tasks"]["winogrande"]["items"], 4);
    assert!(results["tasks"]["boolq"]["error"].as_str().unwrap().contains("Parquet"));
    assert!(results["tasks"]["piqa"]["error"].as_str().unwrap().contains("no column `sol2`"));
}

#[test]
fn bad_items_are_told_with_their_place_and_the_rest_is_done() {
    let folder = evaluation::folder();
    let good = r#"{"question":"q","choices":["a","b"],"answer":1}"#;
    let rows = [good, "rubbish", &good.replace(":1", ":2"), &good.replace("[\"a\",\"b\"]", "[]"), good, r#"{"question":"q"}"#].join("\n");
    folder.write("data/sharealike/eval/arc_easy_test.jsonl", rows);
    let told = stderr(&ended(evaluation::eval(&folder, "arc_easy", "").arg("--log-samples"), 1));
    for expected in [
        "arc_easy 5: no column `choices`; there are question",
        "arc_easy 1: line 2: expected value",
        "arc_easy 2: `target` is 2, but there are 2 choices",
        "arc_easy 3: there are no choices",
    ] {
        assert!(told.lines().any(|line| line.starts_with(expected)), "{expected}: {told}");
    }
    let results = evaluation::results(&folder);
    assert_eq!((&results["tasks"]["arc_easy"]["items"], &results["tasks"]["arc_easy"]["failed"]), (&2.into(), &4.into()));
    assert!(folder.lines("out.samples.jsonl")[1]["error"].is_string());
}

#[test]
fn an_interrupted_evaluation_goes_on_at_the_item() {
    let folder = evaluation::folder();
    let rows: String =
        (0..3000).map(|n| format!("{{\"context\":\"number {n} of many words and more\",\"continuation\":\"{n}\"}}\n")).collect();
    folder.write("data/eval/lambada_openai_test.jsonl", rows);
    let journal = folder.path(".out.json.journal");
    let output = signal_when(start(&mut evaluation::eval(&folder, "lambada_openai", "")), libc::SIGTERM, || lines_of(&journal) > 2);
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("finished items are kept, --resume goes on from there"), "{}", stderr(&output));
    assert!(!folder.path("out.json").exists());
    let told = refused(&mut evaluation::eval(&folder, "lambada_openai", ""));
    assert!(told.contains(".out.json.journal; --resume goes on with it"), "{told}");
    let told = refused(&mut evaluation::eval(&folder, "lambada_openai", "--resume --dtype bf16"));
    assert!(told.contains("is of another model or precision"), "{told}");
    let before = lines_of(&journal);
    signal_when(start(&mut evaluation::eval(&folder, "lambada_openai", "--resume")), libc::SIGKILL, || lines_of(&journal) > before);
    done(&mut evaluation::eval(&folder, "lambada_openai", "--resume"));
    let resumed = evaluation::results(&folder);
    done(&mut evaluation::eval(&folder, "lambada_openai", "--overwrite"));
    assert_eq!(evaluation::results(&folder)["tasks"]["lambada_openai"]["metrics"], resumed["tasks"]["lambada_openai"]["metrics"]);
    assert!(!journal.exists());
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_written() {
    let folder = evaluation::folder();
    let cases = [
        ("--data nowhere", "--data nowhere is no folder"),
        ("--limit 0", "0 is not in 1.."),
        ("--sampler last_n", "last_n"),
        ("--judge-timeout x --judge http://localhost", "--judge-timeout"),
    ];
    for (options, expected) in cases {
        let told = stderr(&ended(&mut evaluation::eval(&folder, "winogrande", options), 2));
        assert!(told.contains(expected), "{options}: {told}");
    }
    assert!(refused(&mut evaluation::eval(&folder, "winogrande,winogrande", "")).contains("names winogrande twice"));
    folder.write("out.json", "{}");
    assert!(refused(&mut evaluation::eval(&folder, "winogrande", "")).contains("--overwrite"));
    assert_eq!(folder.names(), ["data", "model", "out.json"]);
}

/// Two conversations of two turns.
fn conversations(folder: &Folder) {
    let rows = r#"{"question_id":81,"category":"writing","turns":["Write.","Again."]}
{"question_id":101,"category":"math","turns":["Add.","Why?"],"reference":["7","because"]}
"#;
    std::fs::create_dir_all(folder.path("data/mt_bench")).unwrap();
    folder.write("data/mt_bench/question.jsonl", rows);
    folder.write("talks.toml", "base = 'mt_bench'\n[prompt]\nmax_new_tokens = 30\n");
}

/// Marks the first turn 6 and the second 9.
fn mark(asked: &crate::support::openai::Asked) -> Reply {
    let told = prompt(asked);
    let mark = if told.contains("second user question") { "Rating: [[9]]" } else { "So. Rating: [[6]]" };
    Reply::Json(saying(asked, &[mark]))
}

fn bench(folder: &Folder, judge: &str, options: &str) -> std::process::Command {
    let mut command = evaluation::eval(folder, &folder.arg("talks.toml"), options);
    command.args(["--judge", judge]).args(words("--judge-retries 0 --log-samples"));
    command
}

#[test]
fn a_judge_marks_both_turns() {
    let folder = evaluation::folder();
    conversations(&folder);
    let judge = Mock::start(mark);
    done(&mut bench(&folder, &judge.address, ""));
    let results = evaluation::results(&folder);
    let value = |metric: &str| results["tasks"]["talks"]["metrics"][metric]["value"].as_f64();
    assert_eq!((value("rating"), value("rating,turn-1"), value("rating,turn-2")), (Some(7.5), Some(6.0), Some(9.0)));
    let prompts: Vec<String> = judge.asked().iter().map(prompt).collect();
    assert_eq!(prompts.len(), 4);
    assert!(prompts.iter().any(|told| told.contains("Reference Answer]\n7\n") && told.contains("[Question]\nAdd.\n")), "{prompts:?}");
    let sample = &folder.lines("out.samples.jsonl")[0];
    assert_eq!((sample["texts"].as_array().unwrap().len(), sample["judgements"].as_array().unwrap().len()), (2, 2));
}

#[test]
fn a_judge_that_does_not_answer_costs_its_items_and_can_be_asked_again() {
    let folder = evaluation::folder();
    conversations(&folder);
    let silent = Mock::start(|asked| if asked.number < 2 { mark(asked) } else { Reply::Drop });
    let told = stderr(&ended(&mut bench(&folder, &silent.address, "--judge-concurrency 1"), 1));
    assert!(told.contains("turn 2: the judge: ") && told.contains("broke off"), "{told}");
    assert_eq!(evaluation::results(&folder)["tasks"]["talks"]["failed"], 2);
    let judge = Mock::start(mark);
    done(&mut bench(&folder, &judge.address, "--resume"));
    assert_eq!(judge.asked().len(), 2, "the first turns are judged already");
    assert_eq!(evaluation::results(&folder)["tasks"]["talks"]["metrics"]["rating"]["value"], 7.5);
    let nobody = format!("http://{}", std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let told = stderr(&ended(evaluation::eval(&folder, "mt_bench,winogrande", "--overwrite").args(["--judge", &nobody]), 1));
    assert!(told.contains("task mt_bench: cannot reach http://127.0.0.1:"), "{told}");
    assert_eq!(evaluation::results(&folder)["tasks"]["winogrande"]["items"], 4);
    assert!(stderr(&ended(&mut evaluation::eval(&folder, "mt_bench", "--overwrite"), 1)).contains("it needs a judge"));
}
