//! What guards `detect` against mixed-up files, options and failing models.

use crate::support::openai::{Mock, Reply};
use crate::support::{Folder, coppice, done, refused, stderr, stdout};

/// Labelled records whose samples differ in how far they agree.
fn sampled(n: usize) -> String {
    let record = |id: usize| {
        let (label, other) = (id % 2, if id.is_multiple_of(2) { "Paris" } else { "Lyon is it" });
        format!(
            "{{\"id\":\"{id}\",\"prompt\":\"p{id}\",\"response\":\"Paris\",\"token_logprobs\":[-0.{}],\"label\":{label},\
             \"samples\":[{{\"text\":\"Paris\"}},{{\"text\":\"{other} {}\"}}]}}\n",
            1 + id % 8,
            id % 5
        )
    };
    (0..n).map(record).collect()
}

#[test]
fn a_calibrator_is_held_to_the_options_it_was_made_with_and_to_its_checksum() {
    let folder = Folder::new();
    let input = folder.write("r.jsonl", sampled(80));
    let (file, output) = (folder.arg("c.json"), folder.arg("v.jsonl"));
    let made = ["detect", "calibrate", "--input", &input, "--output", &file, "--score", "degmat", "--graph-similarity", "exact_match"];
    done(coppice(made).args(["--resamples", "20"]));
    let score = |more: &[&str]| {
        let mut command = coppice(["detect", "score", "--input", &input, "--output", &output, "--calibrator", &file, "--overwrite"]);
        command.args(more);
        command
    };
    let told = refused(&mut score(&[]));
    assert!(told.contains("degmat was computed with") && told.contains("exact_match"), "{told}");
    done(&mut score(&["--graph-similarity", "exact_match"]));
    folder.write("c.json", folder.read("c.json").replace("\"score\": \"degmat\"", "\"score\": \"msp\""));
    let told = refused(&mut score(&[]));
    assert!(told.contains("checksum"), "{told}");
}

#[test]
fn an_output_that_is_the_input_is_refused() {
    let folder = Folder::new();
    let input = folder.write("r.jsonl", sampled(3));
    for command in [vec!["score"], vec!["judge", "--server", "http://127.0.0.1:9"], vec!["collect", "--server", "http://127.0.0.1:9"]] {
        let told = refused(coppice(["detect"]).args(command).args(["--input", &input, "--output", &input, "--overwrite"]));
        assert!(told.contains("is the input"), "{told}");
    }
    assert_eq!(folder.read("r.jsonl"), sampled(3));
    let told = refused(&mut coppice(["detect", "score", "--input", &folder.arg("."), "--output", &folder.arg("v.jsonl")]));
    assert!(told.contains("it is a folder"), "{told}");
}

#[test]
fn a_judge_of_entailment_that_fails_is_said_and_the_rest_is_done() {
    let folder = Folder::new();
    let (input, output) = (folder.write("r.jsonl", sampled(2)), folder.arg("v.jsonl"));
    let server = Mock::start(|_| Reply::Status(500, "", String::new()));
    let options = ["--retries", "0", "--scores", "msp,luq", "--nli", &server.address];
    let found = coppice(["detect", "score", "--input", &input, "--output", &output]).args(options).output().unwrap();
    assert_eq!(found.status.code(), Some(1), "{}", stderr(&found));
    assert!(stderr(&found).contains("2 scores are missing since a comparing model failed"), "{}", stderr(&found));
    assert!(folder.lines("v.jsonl").iter().all(|verdict| verdict["scores"]["msp"].is_number()));
}

#[test]
fn a_page_is_not_replaced_unasked_and_inputs_without_auroc_do_not_rank() {
    let folder = Folder::new();
    let (mixed, right) =
        (folder.write("r.jsonl", sampled(20)), folder.write("right.jsonl", sampled(20).replace("\"label\":1", "\"label\":0")));
    let bench = || {
        coppice([
            "detect",
            "bench",
            "--input",
            &mixed,
            "--input",
            &right,
            "--scores",
            "msp",
            "--resamples",
            "20",
            "--report",
            &folder.arg("page"),
        ])
    };
    let told = stdout(&done(&mut bench()));
    assert!(told.contains("right.jsonl has no AUROC and does not count among the ranks"), "{told}");
    assert!(told.lines().any(|line| line.starts_with("msp") && line.contains("1.")), "{told}");
    assert!(refused(&mut bench()).contains("index.html exists"));
    done(bench().arg("--overwrite"));
}
