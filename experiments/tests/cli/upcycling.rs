//! `upcycle`: the step-0 report says what the conversion preserved, and the result is a checkpoint like any other.

use serde_json::Value;

use crate::support::{Folder, coppice, done, json_of, refused, stderr, stdout};

fn upcycle(folder: &Folder, options: &[&str]) -> Value {
    json_of(coppice(["upcycle", "--json", "--model", &folder.arg("model"), "--output", &folder.arg("moe")]).args(options))
}

fn logprobs(folder: &Folder, model: &str) -> Vec<f64> {
    let input = folder.write("in.jsonl", "{\"text\":\"the quick brown fox\"}\n");
    done(&mut coppice(["score", "--overwrite", "--model", model, "--input", &input, "--output", &folder.arg("scores.jsonl")]));
    folder.lines("scores.jsonl")[0]["token_logprobs"].as_array().unwrap().iter().filter_map(Value::as_f64).collect()
}

#[test]
fn copies_with_topk_softmax_are_exact_at_step_0() {
    let folder = Folder::with_model();
    let told = upcycle(&folder, &["--experts", "4", "--top-k", "2", "--router-std", "1"]);
    assert_eq!(told["step0"]["exact"], true, "{told}");
    let (dense, upcycled) = (logprobs(&folder, &folder.arg("model")), logprobs(&folder, &folder.arg("moe")));
    assert!(dense.iter().zip(&upcycled).all(|(a, b)| (a - b).abs() < 1e-5), "{dense:?} {upcycled:?}");
    let stored: Value = serde_json::from_str(&folder.read("moe/step0.json")).unwrap();
    assert_eq!(stored, told["step0"]);
}

#[test]
fn softmax_topk_is_not_and_the_report_says_how_far_off() {
    let folder = Folder::with_model();
    let text = folder.write("text.txt", "Some text that the report is made on.");
    let told = upcycle(&folder, &["--experts", "4", "--top-k", "1", "--gate", "softmax_topk", "--report-text", &text]);
    assert_eq!(told["step0"]["exact"], false, "{told}");
    let error = told["step0"]["logits"]["relative_error"].as_f64().or(told["step0"]["relative_error"].as_f64());
    assert!(error.is_some_and(|error| error > 1e-3), "{told}");
}

#[test]
fn only_the_layers_asked_for_are_converted() {
    let folder = Folder::with_model();
    let told = upcycle(&folder, &["--experts", "2", "--top-k", "1", "--layers", "last:1", "--no-report", "--dtype", "bf16"]);
    assert_eq!(told["manifest"]["layers"], serde_json::json!([1]));
    let config: Value = serde_json::from_str(&folder.read("moe/config.json")).unwrap();
    assert_eq!((&config["model_type"], &config["moe_layers"]), (&"stablelm_moe".into(), &serde_json::json!([1])));
    assert_eq!(config["torch_dtype"], "bfloat16");
}

#[test]
fn a_dry_run_writes_nothing_and_forecasts_the_size() {
    let folder = Folder::with_model();
    let plan = upcycle(&folder, &["--experts", "4", "--dry-run"]);
    assert_eq!(folder.names(), ["model"]);
    done(&mut coppice(["upcycle", "--model", &folder.arg("model"), "--output", &folder.arg("moe"), "--experts", "4", "--no-report"]));
    let bytes = std::fs::metadata(folder.path("moe/model.safetensors")).unwrap().len();
    let forecast = plan["bytes"].as_u64().unwrap();
    assert!(forecast < bytes && bytes < forecast + 16_384, "{forecast} forecast, {bytes} written");
}

#[test]
fn the_report_is_readable_and_names_what_it_ran_on() {
    let folder = Folder::with_model();
    let text = stdout(&done(&mut coppice(["upcycle", "--model", &folder.arg("model"), "--output", &folder.arg("moe"), "--seed", "5"])));
    assert!(text.contains("random") && text.contains("exact"), "{text}");
    assert_eq!(folder.names(), ["model", "moe"]);
}

#[test]
fn the_card_has_the_report_and_transformers_its_code() {
    let folder = Folder::with_model();
    folder.write("model/README.md", "---\nlicense: apache-2.0\n---\n# Their card\n");
    upcycle(&folder, &["--experts", "4"]);
    let card = folder.read("moe/README.md");
    assert!(card.starts_with("---\nlicense: \"apache-2.0\"\nbase_model: \"model\"\nlibrary_name: transformers"), "{card}");
    assert!(card.contains("exact: the logits equal") && !card.contains("Their card"), "{card}");
    let config: Value = serde_json::from_str(&folder.read("moe/config.json")).unwrap();
    for file in config["auto_map"].as_object().unwrap().values() {
        let module = file.as_str().unwrap().split_once('.').unwrap().0;
        assert!(folder.path(&format!("moe/{module}.py")).exists(), "{module}");
    }
}

#[test]
fn resuming_nothing_begins_and_jobs_must_be_some() {
    let folder = Folder::with_model();
    let arguments = |more: &'static str| {
        let (model, output) = (folder.arg("model"), folder.arg("moe"));
        let mut command = coppice(["upcycle", "--no-report", "--experts", "2", "--model", &model, "--output", &output]);
        command.args(more.split_whitespace());
        command
    };
    assert!(refused(&mut arguments("--jobs 0")).contains("jobs is 0"));
    assert_eq!(folder.names(), ["model"]);
    let output = done(&mut arguments("--resume"));
    assert!(stderr(&output).contains("nothing to resume"), "{}", stderr(&output));
    assert!(refused(&mut arguments("--resume")).contains("exists"));
}

#[test]
fn overwrite_replaces_and_leaves_no_old_files() {
    let folder = Folder::with_model();
    std::fs::create_dir(folder.path("moe")).unwrap();
    folder.write("moe/old", "old");
    upcycle(&folder, &["--overwrite", "--no-report", "--experts", "2"]);
    assert!(!folder.path("moe/old").exists());
    assert_eq!(folder.names(), ["model", "moe"]);
}

#[test]
fn an_upcycled_model_generates() {
    let folder = Folder::with_model();
    upcycle(&folder, &["--experts", "4", "--top-k", "1", "--no-report"]);
    let tokens = |model: String| {
        json_of(&mut coppice(["generate", "--json", "--model", &model, "--prompt", "hello", "--max-new-tokens", "5", "--ignore-eos"]))["tokens"].clone()
    };
    assert_eq!(tokens(folder.arg("moe")), tokens(folder.arg("model")));
}
