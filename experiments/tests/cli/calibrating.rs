//! `detect calibrate` and `detect score --calibrator`: from labelled records to verdicts.

use crate::support::outcome::ended;
use crate::support::{Folder, coppice, done, json_of, refused, stderr, stdout};

/// Six hundred answers, three about each person: improbable ones are wrong, those between now and then.
fn labelled() -> String {
    let record = |index: u32| {
        let place = index * 37 % 600;
        let label = u32::from(place > 400 || (place > 300 && place.is_multiple_of(3)));
        format!(
            "{{\"id\":\"{index}\",\"prompt\":\"p\",\"response\":\"r\",\"tokens\":[1],\"token_logprobs\":[-{}],\"label\":{label},\
             \"source\":{{\"person\":{},\"model\":\"tiny\"}}}}\n",
            f64::from(place) / 100.0,
            index / 3
        )
    };
    (0..600).map(record).collect()
}

fn calibrate(folder: &Folder, more: &[&str]) -> std::process::Command {
    let (input, output) = (folder.write("labelled.jsonl", labelled()), folder.arg("calibrator.json"));
    let mut command = coppice(["detect", "calibrate", "--input", &input, "--output", &output, "--group-by", "person"]);
    command.args(["--resamples", "100"]).args(more);
    command
}

#[test]
fn a_calibrator_decides_what_may_be_accepted() {
    let folder = Folder::new();
    let found = json_of(&mut calibrate(&folder, &["--json"]));
    let judged = &found["calibrator"]["judged"];
    assert_eq!((judged["n"].as_u64(), judged["groups"].as_u64()), (Some(300), Some(100)));
    assert!(judged["auroc"]["estimate"].as_f64().unwrap() > 0.9 && judged["ece"]["estimate"].as_f64().unwrap() < 0.1, "{judged}");
    assert_eq!(found["trials"].as_array().unwrap().iter().filter(|trial| trial["score"] == "length").count(), 0);
    let written: serde_json::Value = serde_json::from_str(&folder.read("calibrator.json")).unwrap();
    assert_eq!((&written["version"], &written["source"]["model"]), (&1.into(), &"tiny".into()));
    assert_eq!(written["thresholds"]["accept"]["guarantee"]["n"], 100);

    let (output, calibrator) = (folder.arg("verdicts.jsonl"), folder.arg("calibrator.json"));
    let score = ["detect", "score", "--json", "--scores", "length", "--output", &output, "--calibrator", &calibrator];
    let summary = json_of(coppice(score).args(["--input", &folder.arg("labelled.jsonl")]));
    assert!(summary["drift"]["p_value"].as_f64().unwrap() > 0.5, "{summary}");
    let verdicts = folder.lines("verdicts.jsonl");
    let accepted: Vec<_> = verdicts.iter().filter(|verdict| verdict["verdict"] == "accept").collect();
    assert!(accepted.len() > 200 && verdicts.iter().any(|verdict| verdict["verdict"] == "flag"));
    assert!(accepted[0]["evidence"][1].as_str().unwrap().contains("at most 10.0 % are wrong, with confidence 90 %"));
}

#[test]
fn answers_of_another_kind_raise_a_warning() {
    let folder = Folder::new();
    let told = stdout(&done(&mut calibrate(&folder, &["--method", "platt", "--score", "msp"])));
    assert!(told.contains("msp by platt") && told.contains("ECE") && told.contains("of the responses accepted"), "{told}");
    let strange: String = (0..50)
        .map(|index| format!("{{\"id\":\"{index}\",\"prompt\":\"p\",\"response\":\"r\",\"token_logprobs\":[-40.{index}]}}\n"))
        .collect();
    let (input, output, calibrator) = (folder.write("strange.jsonl", strange), folder.arg("v.jsonl"), folder.arg("calibrator.json"));
    let output = done(&mut coppice(["detect", "score", "--input", &input, "--output", &output, "--calibrator", &calibrator]));
    assert!(stderr(&output).contains("distributed otherwise"), "{}", stderr(&output));
    let evidence = folder.lines("v.jsonl")[0]["evidence"].to_string();
    assert!(evidence.contains("outside of the calibration range"), "{evidence}");
}

#[test]
fn what_cannot_be_calibrated_is_refused() {
    let folder = Folder::new();
    for (more, expected) in [
        (vec!["--score", "mps"], "msp"),
        (vec!["--method", "plat"], "platt"),
        (vec!["--alpha", "1.5"], "alpha is 1.5"),
        (vec!["--group-by", "city"], "source.city"),
        (vec!["--split", "0"], "split is 0"),
    ] {
        let mut command = calibrate(&folder, &[]);
        if more[0] == "--group-by" {
            let input = folder.arg("labelled.jsonl");
            command = coppice(["detect", "calibrate", "--input", &input, "--output", &folder.arg("calibrator.json")]);
        }
        let told = refused(command.args(&more));
        assert!(told.contains(expected), "{more:?}: {told}");
        assert_eq!(folder.names(), ["labelled.jsonl"]);
    }
    let unlabelled = folder.write("plain.jsonl", "{\"id\":\"a\",\"prompt\":\"p\",\"response\":\"r\"}\n");
    let told = refused(&mut coppice(["detect", "calibrate", "--input", &unlabelled, "--output", &folder.arg("c.json")]));
    assert!(told.contains("label"), "{told}");
}

#[test]
fn a_calibrator_of_another_version_is_refused_and_a_bad_line_is_told() {
    let folder = Folder::new();
    let calibrator = folder.write("new.json", r#"{"version":9,"score":"msp"}"#);
    let input = folder.write("bad.jsonl", labelled() + "rubbish\n");
    let output = folder.arg("v.jsonl");
    let told = refused(&mut coppice(["detect", "score", "--input", &input, "--output", &output, "--calibrator", &calibrator]));
    assert!(told.contains("version 9") && told.contains("new.json"), "{told}");
    let output = ended(&mut coppice(["detect", "calibrate", "--input", &input, "--output", &folder.arg("c.json"), "--resamples", "10"]), 1);
    assert!(stderr(&output).contains("line 601"), "{}", stderr(&output));
    assert!(refused(&mut coppice(["detect", "calibrate", "--input", &input, "--output", &folder.arg("c.json")])).contains("--overwrite"));
    assert_eq!(folder.names(), ["bad.jsonl", "c.json", "new.json"]);
}
