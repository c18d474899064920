//! `detect`: bad lines become items with an error, the rest is done.

use crate::support::outcome::ended;
use crate::support::{Folder, coppice, done, json_of, refused, stdout};

/// Ten labelled records; the wrong answers are the improbable ones.
fn labelled() -> String {
    let record = |index: i32| {
        let (label, logprob) = (index % 2, -0.1 - f64::from(index % 2) - f64::from(index) / 100.0);
        format!(
            "{{\"id\":\"{index}\",\"prompt\":\"p\",\"response\":\"r\",\"tokens\":[1],\"token_logprobs\":[{logprob}],\"token_entropies\":[0.5],\"label\":{label}}}\n"
        )
    };
    (0..10).map(record).collect()
}

#[test]
fn bad_lines_become_errors_and_the_rest_is_done() {
    let folder = Folder::new();
    let content =
        [labelled().as_bytes(), b"{\"id\":\"bad\",\"prompt\":1}\n\n\xff\n", b"{\"id\":\"last\",\"prompt\":\"p\",\"response\":\"r\"}\n"]
            .concat();
    let input = folder.write("records.jsonl", content);
    let output = ended(&mut coppice(["detect", "score", "--json", "--input", &input, "--output", &folder.arg("verdicts.jsonl")]), 1);
    let summary: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((summary["records"].as_u64(), summary["failed"].as_u64()), (Some(14), Some(3)));
    let verdicts = folder.lines("verdicts.jsonl");
    assert_eq!(verdicts.len(), 14);
    assert_eq!(verdicts[10]["id"], "bad");
    assert!(verdicts[10..13].iter().all(|line| line["error"].is_string() && line.get("scores").is_none()));
    assert_eq!((&verdicts[13]["id"], &verdicts[13]["verdict"]), (&"last".into(), &"review".into()));
    assert!(verdicts[13]["missing"]["msp"].is_string(), "a score that lacks its input says so by name");
    assert_eq!(folder.names(), ["records.jsonl", "verdicts.jsonl"]);
}

#[test]
fn only_the_scores_asked_for_are_computed() {
    let folder = Folder::new();
    let input = folder.write("records.jsonl", labelled());
    let output = folder.arg("verdicts.jsonl");
    done(&mut coppice(["detect", "score", "--input", &input, "--output", &output, "--scores", "length,msp"]));
    let scores = folder.lines("verdicts.jsonl")[0]["scores"].as_object().unwrap().clone();
    assert_eq!(scores.keys().collect::<Vec<_>>(), ["length", "msp"]);
    let told = refused(&mut coppice(["detect", "score", "--input", &input, "--output", &output, "--overwrite", "--scores", "mps"]));
    assert!(told.contains("mps") && told.contains("msp"), "{told}");
}

#[test]
fn an_empty_file_of_records_is_refused() {
    let folder = Folder::new();
    let input = folder.write("records.jsonl", "");
    for command in [vec!["score", "--output", &folder.arg("v.jsonl")], vec!["bench"]] {
        let told = refused(coppice(["detect"]).args(command).args(["--input", &input]));
        assert!(told.contains("records.jsonl") && told.contains("empty"), "{told}");
    }
    assert_eq!(folder.names(), ["records.jsonl"]);
}

#[test]
fn bench_finds_the_score_that_separates() {
    let folder = Folder::new();
    let input = folder.write("records.jsonl", labelled());
    let found = json_of(&mut coppice(["detect", "bench", "--json", "--input", &input, "--resamples", "50", "--scores", "msp"]));
    let rows = found["rows"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row["score"] == name).unwrap_or_else(|| panic!("no {name} in {found}"));
    assert_eq!(row("msp")["auroc"]["estimate"], 1.0);
    assert_eq!(row("length")["auroc"]["estimate"], 0.5, "every answer is equally long");
    assert_eq!(found["base_rate"], 0.5);
    let table = stdout(&done(&mut coppice(["detect", "bench", "--input", &input, "--resamples", "50"])));
    assert!(table.contains("AUROC") && table.contains("length"), "{table}");
}

#[test]
fn bench_without_labels_says_so() {
    let folder = Folder::new();
    let input = folder.write("records.jsonl", "{\"id\":\"a\",\"prompt\":\"p\",\"response\":\"r\"}\n");
    let told = refused(&mut coppice(["detect", "bench", "--input", &input]));
    assert!(told.contains("label"), "{told}");
}

#[test]
fn the_list_names_every_score_the_design_promises() {
    let listed = json_of(&mut coppice(["detect", "list", "--json"]));
    let names: Vec<_> = listed["scores"].as_array().unwrap().iter().map(|score| score["name"].as_str().unwrap()).collect();
    for name in [
        "msp",
        "perplexity",
        "mean_token_entropy",
        "max_token_entropy",
        "exact_match_rate",
        "lexical_similarity",
        "discrete_semantic_entropy",
        "semantic_entropy",
        "length",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
}

#[test]
fn labels_of_one_kind_leave_a_score_without_a_row_and_are_said() {
    let folder = Folder::new();
    let record = |id: usize| format!("{{\"id\":\"{id}\",\"prompt\":\"p\",\"response\":\"r\",\"token_logprobs\":[-0.{id}],\"label\":0}}\n");
    let input = folder.write("right.jsonl", (1..8).map(record).collect::<String>());
    let told = stdout(&done(&mut coppice(["detect", "bench", "--input", &input, "--scores", "msp,semantic_entropy"])));
    assert!(told.contains("no row for length, msp: all 7 responses are right"), "{told}");
    assert!(told.contains("no row for semantic_entropy: no labelled record has what it needs: 7 lack samples"), "{told}");
    assert!(!told.contains("AUROC ["), "{told}");
}
