//! Input files and options that somebody got wrong: the line is named, nothing is written.

use std::fs;

use crate::support::checkpoint::CONTEXT;
use crate::support::{Folder, coppice, refused};

/// What `score` says of an input file with this content; it must write nothing.
fn score_refuses(folder: &Folder, content: impl AsRef<[u8]>) -> String {
    let input = folder.write("in.jsonl", content);
    let before = folder.names();
    let (model, output) = (folder.arg("model"), folder.arg("out.jsonl"));
    let told = refused(&mut coppice(["score", "--model", &model, "--input", &input, "--output", &output]));
    assert_eq!(folder.names(), before);
    told
}

fn assert_says(told: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| told.contains(part)), "expected {parts:?} in: {told}");
}

#[test]
fn a_bad_line_is_named() {
    let folder = Folder::with_model();
    let good = "{\"text\":\"good\"}\n";
    assert_says(&score_refuses(&folder, ""), &["in.jsonl", "empty"]);
    assert_says(&score_refuses(&folder, "\n"), &["in.jsonl, line 1", "empty"]);
    assert_says(&score_refuses(&folder, format!("{good}\n{good}")), &["in.jsonl, line 2", "empty"]);
    assert_says(&score_refuses(&folder, format!("{good}{{\"text\":")), &["in.jsonl, line 2", "column"]);
    assert_says(&score_refuses(&folder, [good.as_bytes(), b"{\"text\":\"\xff\"}\n"].concat()), &["in.jsonl, line 2", "UTF-8"]);
    assert_says(&score_refuses(&folder, format!("{good}[1]\n")), &["in.jsonl, line 2"]);
    assert_says(&score_refuses(&folder, format!("{good}{{}}\n")), &["in.jsonl, line 2", "\"text\"", "\"tokens\""]);
    assert_says(&score_refuses(&folder, "{\"text\":\"a\",\"tokens\":[1]}\n"), &["in.jsonl, line 1", "either"]);
    assert_says(&score_refuses(&folder, format!("{good}{{\"text\":\"\"}}\n")), &["in.jsonl, line 2"]);
}

#[test]
fn a_column_is_told_without_the_parsers_own_line() {
    let told = score_refuses(&Folder::with_model(), "{\"text\":\"good\"}\n{\"text\" 1}\n");
    assert_says(&told, &["line 2", "column"]);
    assert!(!told.contains("line 1"), "{told}");
}

#[test]
fn ids_outside_the_vocabulary_are_named_with_their_line() {
    let folder = Folder::with_model();
    for (id, told) in [("-1", "-1"), ("264", "264"), ("9223372036854775807", "9223372036854775807")] {
        assert_says(&score_refuses(&folder, format!("{{\"tokens\":[1]}}\n{{\"tokens\":[1,{id}]}}\n")), &["in.jsonl, line 2", told]);
        let told_too = refused(&mut coppice(["generate", "--model", &folder.arg("model"), &format!("--tokens=1,{id}")]));
        assert_says(&told_too, &[told, "264"]);
    }
    assert_says(&score_refuses(&folder, "{\"tokens\":[99999999999999999999]}\n"), &["in.jsonl, line 1"]);
    assert_says(&score_refuses(&folder, "{\"tokens\":[1.5]}\n"), &["in.jsonl, line 1"]);
}

#[test]
fn an_input_longer_than_the_context_is_refused() {
    let folder = Folder::with_model();
    let long = "a".repeat(CONTEXT + 1);
    assert_says(&score_refuses(&folder, format!("{{\"text\":\"{long}\"}}\n")), &["in.jsonl, line 1", "65", "64"]);
    let told = refused(&mut coppice(["generate", "--model", &folder.arg("model"), "--prompt", &long]));
    assert_says(&told, &["65", "64"]);
    let told = refused(&mut coppice(["generate", "--model", &folder.arg("model"), "--prompt", &long[..CONTEXT]]));
    assert_says(&told, &["fills the whole context"]);
}

#[test]
fn an_output_that_exists_is_kept() {
    let folder = Folder::with_model();
    let input = folder.write("in.jsonl", "{\"tokens\":[1,2]}\n");
    let (model, output) = (folder.arg("model"), folder.write("out", "mine"));
    let arguments = [vec!["score", "--input", &input], vec!["upcycle"]];
    for command in arguments {
        let told = refused(coppice(command).args(["--model", &model, "--output", &output]));
        assert_says(&told, &["out", "exists", "--overwrite"]);
    }
    let told = refused(&mut coppice(["detect", "score", "--input", &input, "--output", &output]));
    assert_says(&told, &["exists", "--overwrite"]);
    let told = refused(&mut coppice(["data", "synth", "--output", &output]));
    assert_says(&told, &["exists", "--overwrite"]);
    assert_eq!(folder.read("out"), "mine");
}

#[test]
fn a_folder_that_exists_is_kept() {
    let folder = Folder::with_model();
    fs::create_dir(folder.path("out")).unwrap();
    folder.write("out/mine", "mine");
    let told = refused(&mut coppice(["upcycle", "--model", &folder.arg("model"), "--output", &folder.arg("out")]));
    assert_says(&told, &["out", "exists", "--overwrite"]);
    assert_eq!(folder.read("out/mine"), "mine");
}

#[test]
fn an_output_that_holds_the_source_is_refused_whatever_the_flag() {
    let folder = Folder::with_model();
    let model = folder.arg("model");
    let told = refused(&mut coppice(["upcycle", "--model", &model, "--output", &model, "--overwrite"]));
    assert_says(&told, &["holds the source"]);
    assert!(folder.path("model/model.safetensors").is_file());
}

#[test]
fn options_that_mean_nothing_are_refused() {
    let folder = Folder::with_model();
    let model = folder.arg("model");
    for (options, told) in [
        (vec!["--experts", "0"], "0"),
        (vec!["--top-k", "9"], "9"),
        (vec!["--method", "clone"], "copy"),
        (vec!["--layers", "first:3"], "3"),
        (vec!["--layers", "0,7"], "7"),
        (vec!["--router-std", "NaN"], "NaN"),
        (vec!["--granularity", "3"], "granularity"),
        (vec!["--report-tokens", "0"], "token"),
    ] {
        let before = folder.names();
        let refusal = refused(coppice(["upcycle", "--model", &model, "--output", &folder.arg("out")]).args(options));
        assert_says(&refusal, &[told]);
        assert_eq!(folder.names(), before);
    }
    for options in [["--temperature", "NaN"], ["--top-p", "2"], ["--samples", "0"], ["--max-new-tokens", "0"], ["--top-k", "0"]] {
        refused(coppice(["generate", "--model", &model, "--tokens", "1"]).args(options));
    }
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    if std::path::Path::new("/dev/nvidia0").exists() {
        eprintln!("skipped: this machine has a GPU");
        return;
    }
    let folder = Folder::with_model();
    let told = refused(&mut coppice(["generate", "--model", &folder.arg("model"), "--tokens", "1", "--device", "cuda:0"]));
    assert_says(&told, &["cuda"]);
}
