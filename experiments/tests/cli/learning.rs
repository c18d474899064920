//! `detect fit`, and `--fitted` of score, bench and calibrate: from records to learned scores and to verdicts with them.

use crate::support::outcome::ended;
use crate::support::{Folder, coppice, done, json_of, refused, stdout};

/// Answers, three about each person, whose heads look back less where they are wrong.
fn records(from: u32, to: u32) -> String {
    let record = |index: u32| {
        let label = u32::from(index * 7 % 10 < 4);
        let noise = f64::from(index * 37 % 100) / 250.0;
        format!(
            "{{\"id\":\"{index}\",\"prompt\":\"p\",\"response\":\"r\",\"tokens\":[1],\"token_logprobs\":[-{noise}],\"label\":{label},\
             \"attention\":{{\"lookback\":[{},0.5]}},\"source\":{{\"person\":{}}}}}\n",
            0.8 - 0.3 * f64::from(label) - noise,
            index / 3
        )
    };
    (from..to).map(record).collect()
}

fn fit(folder: &Folder, more: &[&str]) -> std::process::Command {
    let (input, output) = (folder.write("train.jsonl", records(0, 120)), folder.arg("fitted.json"));
    let mut command = coppice(["detect", "fit", "--input", &input, "--output", &output, "--group-by", "person"]);
    command.args(more);
    command
}

#[test]
fn fitted_scores_are_scored_and_benchmarked_on_other_records() {
    let folder = Folder::new();
    let found = json_of(&mut fit(&folder, &["--json"]));
    let names: Vec<_> = found["fitted"].as_array().unwrap().iter().map(|report| report["score"].as_str().unwrap()).collect();
    assert_eq!(names, ["lookback_ratio", "ensemble"], "{found}");
    assert!(found["fitted"][0]["held_out_auroc"].as_f64().unwrap() > 0.8, "{found}");
    assert!(found["failures"]["saplma"].as_str().unwrap().contains("hidden[].last"), "{found}");

    let (fitted, test, output) = (folder.arg("fitted.json"), folder.write("test.jsonl", records(100, 240)), folder.arg("v.jsonl"));
    done(&mut coppice(["detect", "score", "--input", &test, "--output", &output, "--fitted", &fitted, "--scores", "lookback_ratio"]));
    assert!(folder.lines("v.jsonl").iter().all(|verdict| verdict["scores"]["lookback_ratio"].is_number()));

    // Twenty of the 140 were fitted on.
    let bench = ["detect", "bench", "--input", &test, "--fitted", &fitted, "--group-by", "person", "--resamples", "50", "--json"];
    let bench = json_of(coppice(bench).args(["--scores", "lookback_ratio,msp"]));
    let row = &bench["rows"][0];
    assert_eq!((row["n"].as_u64(), row["missing"].as_u64(), bench["n"].as_u64()), (Some(120), Some(20), Some(140)));
    assert!(row["to_length"]["p_adjusted"].as_f64().unwrap() < 0.01 && row["microseconds"].as_f64().unwrap() > 0.0, "{row}");

    let calibrator = folder.arg("c.json");
    let calibrate = ["detect", "calibrate", "--input", &test, "--output", &calibrator, "--fitted", &fitted, "--resamples", "20", "--json"];
    let found = json_of(coppice(calibrate).args(["--score", "lookback_ratio", "--group-by", "person"]));
    assert_eq!(found["calibrator"]["score"], "lookback_ratio");
}

#[test]
fn several_inputs_get_a_table_each_mean_ranks_and_a_page() {
    let folder = Folder::new();
    let (a, b, page) = (folder.write("a.jsonl", records(0, 60)), folder.write("b.jsonl", records(60, 120)), folder.arg("page"));
    let bench = ["detect", "bench", "--input", &a, "--input", &b, "--resamples", "20", "--scores", "msp", "--report", &page];
    let told = stdout(&done(&mut coppice(bench)));
    assert!(told.contains("a.jsonl") && told.contains("b.jsonl") && told.contains("mean rank"), "{told}");
    let html = folder.read("page/index.html");
    assert!(html.contains("msp") && html.contains("<svg") && html.contains("Lowest mean ranks"));
    let found = json_of(coppice(bench).args(["--overwrite", "--json"]));
    assert_eq!((found["inputs"].as_array().unwrap().len(), found["mean_ranks"].as_array().unwrap().len()), (2, 2));
}

#[test]
fn what_cannot_be_fitted_or_read_is_told_in_one_line() {
    let folder = Folder::new();
    assert!(refused(&mut fit(&folder, &["--scores", "msp"])).contains("msp is not a learned score"));
    assert!(refused(&mut fit(&folder, &["--scores", "saplma"])).contains("nothing could be fitted: saplma: 0 records have"));
    let (input, output) = (folder.arg("train.jsonl"), folder.arg("fitted.json"));
    let told = refused(&mut coppice(["detect", "fit", "--input", &input, "--output", &output, "--group-by", "town"]));
    assert!(told.contains("record `0` has no `source.town` to group by"), "{told}");
    let some = ended(&mut fit(&folder, &["--scores", "saplma,lookback_ratio", "--folds", "0"]), 1);
    assert!(stdout(&some).contains("not fitted: saplma") && stdout(&some).contains("not cross-validated"));
    assert!(refused(&mut fit(&folder, &[])).contains("fitted.json"));
    let (other, output) = (folder.write("other.json", "{\"version\":7}"), folder.arg("v.jsonl"));
    let told = refused(&mut coppice(["detect", "score", "--input", &folder.arg("train.jsonl"), "--output", &output, "--fitted", &other]));
    assert!(told.contains("version 7; this program reads version 1"), "{told}");
}
