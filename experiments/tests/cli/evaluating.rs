//! `eval` against lm-eval 0.4.13 on small rows (`tests/golden/eval.py`): every log-likelihood, every figure, every standard error.

use serde_json::Value;

use crate::support::outcome::ended;
use crate::support::{Folder, coppice, json_of, stderr};
use crate::support::{evaluation, words};

/// Largest difference of a log-likelihood, nats.
const TOLERANCE: f64 = 1e-4;

#[test]
fn log_likelihoods_and_figures_are_those_of_lm_eval() {
    let (golden, folder) = (evaluation::golden(), evaluation::folder());
    let names: Vec<&String> = golden["tasks"].as_object().unwrap().keys().collect();
    let names = names.into_iter().map(String::as_str).collect::<Vec<_>>().join(",");
    // One item of arc_challenge exceeds the context: done, counted, and exit 1.
    let output = ended(evaluation::eval(&folder, &names, "").arg("--log-samples"), 1);
    assert!(
        stderr(&output).contains("arc_challenge: 1 of 5 prompts exceed the model's context and were cut on the left"),
        "{}",
        stderr(&output)
    );
    let (results, samples) = (evaluation::results(&folder), folder.lines("out.samples.jsonl"));
    for (name, expected) in golden["tasks"].as_object().unwrap() {
        let found: Vec<&Value> = samples.iter().filter(|sample| sample["task"] == *name).collect();
        items_agree(name, &found, expected["items"].as_array().unwrap());
        figures_agree(name, &results["tasks"][name], expected["figures"].as_object().unwrap());
    }
    assert_eq!((&results["testing"], &results["limit"]), (&false.into(), &Value::Null));
    assert_eq!(results["tasks"]["arc_challenge"]["truncated"], 1);
    assert_eq!(results["tasks"]["mmlu"]["groups"]["anatomy"]["acc"]["stderr"].as_f64().map(|stderr| stderr > 0.0), Some(true));
    assert!(
        results["tasks"]["mmlu"]["areas"].as_object().unwrap().keys().eq(["humanities", "stem"]),
        "{}",
        results["tasks"]["mmlu"]["areas"]
    );
}

fn items_agree(name: &str, found: &[&Value], expected: &[Value]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (found, expected) in found.iter().zip(expected) {
        match (&found["texts"], &expected[0]) {
            (Value::Null, Value::Number(document)) => {
                let sum: f64 = found["logprobs"].as_array().unwrap().iter().filter_map(Value::as_f64).sum();
                let document = document.as_f64().unwrap();
                assert!((sum - document).abs() < TOLERANCE.max(1e-6 * document.abs()), "{name}: {sum} against {document}");
            }
            (Value::Null, _) => scores_agree(name, found, expected.as_array().unwrap()),
            (texts, text) => assert_eq!(&texts[0], text, "{name}"),
        }
    }
}

fn scores_agree(name: &str, found: &Value, expected: &[Value]) {
    let logprobs = found["logprobs"].as_array().unwrap().iter().filter_map(Value::as_f64);
    assert_eq!(found["logprobs"].as_array().unwrap().len(), expected.len(), "{name} {}", found["id"]);
    for ((logprob, greedy), expected) in logprobs.zip(found["greedy"].as_array().unwrap()).zip(expected) {
        let reference = expected[0].as_f64().unwrap();
        assert!((logprob - reference).abs() < TOLERANCE, "{name} {}: {logprob} against {reference}", found["id"]);
        assert_eq!(greedy, &expected[1], "{name} {}", found["id"]);
    }
}

/// The perplexity's error is lm-eval's bootstrap there and its limit here, so it is left out.
fn figures_agree(name: &str, found: &Value, expected: &serde_json::Map<String, Value>) {
    for (key, expected) in expected {
        let (metric, filter) = key.split_once(',').unwrap();
        let (metric, part) = metric.strip_suffix("_stderr").map_or((metric, "value"), |metric| (metric, "stderr"));
        if (metric, part) == ("perplexity", "stderr") {
            continue;
        }
        let ours = match (name, filter) {
            ("truthfulqa_mc2", _) => "mc2".to_owned(),
            (_, "none") => metric.to_owned(),
            (_, filter) => format!("{metric},{filter}"),
        };
        let (figure, expected) = (found["metrics"][&ours][part].as_f64(), expected.as_f64().unwrap());
        let near = figure.is_some_and(|figure| (figure - expected).abs() < 1e-5 * expected.abs().max(1.0));
        assert!(near, "{name}: {key} is {figure:?}, lm-eval has {expected}");
    }
}

#[test]
fn the_formats_make_no_difference() {
    let folder = evaluation::folder();
    let accuracy = |data: &str, overwrite: &str| {
        let mut command = evaluation::eval(&folder, "arc_easy", overwrite);
        command.args(["--data", &folder.arg(data), "--log-samples"]).args(words("--shots 0"));
        ended(&mut command, 0);
        folder.lines("out.samples.jsonl").iter().map(|sample| sample["logprobs"].clone()).collect::<Vec<_>>()
    };
    std::fs::create_dir_all(folder.path("lines")).unwrap();
    std::fs::copy(folder.path("data/sharealike/eval/arc_challenge_test.jsonl"), folder.path("lines/arc_easy_test.jsonl")).unwrap();
    let lines = accuracy("lines", "");
    std::fs::create_dir_all(folder.path("parquet")).unwrap();
    std::fs::copy(evaluation::path("rows.parquet"), folder.path("parquet/arc_easy_test.parquet")).unwrap();
    assert_eq!(lines.len(), 5);
    assert_eq!(accuracy("parquet", "--overwrite"), lines);
}

#[test]
fn a_csv_and_a_task_file_of_the_users() {
    let folder = evaluation::folder();
    folder.write("data/capitals.csv", "country,capital\nFrance,\"Paris, of course\"\nItaly,Rome\n");
    let task = "about = 'Capitals.'\nkind = 'continuation'\nmetrics = ['acc', 'perplexity']\n[data]\nitems = 'capitals'\n\
                columns = ['country', 'capital']\n[prompt]\ncontext = 'The capital of {{ country }} is'\ntarget = 'capital'\n";
    let path = folder.write("capitals.toml", task);
    let results = json_of(evaluation::eval(&folder, &path, "").args(["--json", "--log-samples", "--limit", "1"]));
    assert_eq!((&results["testing"], &results["limit"], &results["tasks"]["capitals"]["items"]), (&true.into(), &1.into(), &1.into()));
    let sample = &folder.lines("out.samples.jsonl")[0];
    assert_eq!(sample["arguments"], serde_json::json!([["The capital of France is", " Paris, of course"]]));
    let printed = crate::support::stdout(&ended(evaluation::eval(&folder, &path, "--overwrite").args(words("--limit 1")), 0));
    assert!(printed.starts_with("TESTING: the first 1 items of each task"), "{printed}");
}

#[test]
fn tasks_are_listed_and_a_dry_run_counts() {
    let listed = crate::support::stdout(&ended(&mut coppice(["eval", "--list"]), 0));
    for name in ["arc_challenge", "hellaswag", "mmlu", "truthfulqa_mc2", "winogrande", "gsm8k", "mt_bench", "sciq", "wikitext"] {
        assert!(listed.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}: {listed}");
    }
    let folder: Folder = evaluation::folder();
    let plan = crate::support::stdout(&ended(evaluation::eval(&folder, "mmlu", "").arg("--dry-run"), 0));
    assert_eq!(plan.trim(), "mmlu: 6 items, 0 of them bad, 5 examples before each");
    assert!(!folder.path("out.json").exists());
}
