//! `merge-experts`: what was upcycled comes back, and what is refused.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Folder, coppice, done, json_of, refused, stdout};

fn with_experts() -> Folder {
    let folder = Folder::with_model();
    let arguments = ["upcycle", "--no-report", "--model", &folder.arg("model"), "--output", &folder.arg("moe"), "--experts", "4"];
    done(&mut coppice(arguments));
    folder
}

fn merge(folder: &Folder, options: &[&str]) -> Value {
    json_of(coppice(["merge-experts", "--json", "--model", &folder.arg("moe"), "--output", &folder.arg("dense")]).args(options))
}

fn scores(folder: &Folder, model: &str) -> String {
    let input = folder.write("in.jsonl", "{\"text\":\"the quick brown fox\"}\n");
    let arguments = ["score", "--overwrite", "--model", &folder.arg(model), "--input", &input, "--output", &folder.arg("scores.jsonl")];
    done(&mut coppice(arguments));
    folder.read("scores.jsonl")
}

#[test]
fn copies_merge_into_the_model_they_came_from() {
    let folder = with_experts();
    let text = folder.write("text.txt", "some text the load is measured on");
    for options in [&["--weights", "average"][..], &["--weights", "load", "--text", &text, "--overwrite"]] {
        let told = merge(&folder, options);
        assert_eq!(told["manifest"]["intermediate_size"], 48);
        assert_eq!(scores(&folder, "dense"), scores(&folder, "model"));
    }
    let config: Value = serde_json::from_str(&folder.read("dense/config.json")).unwrap();
    assert_eq!((&config["model_type"], &config["intermediate_size"]), (&json!("stablelm"), &json!(48)));
    let manifest: Value = serde_json::from_str(&folder.read("dense/coppice.json")).unwrap();
    assert_eq!((&manifest["kind"], &manifest["experts"]), (&json!("merged"), &json!(4)));
    assert_eq!(folder.read("dense/tokenizer.json"), folder.read("model/tokenizer.json"));
    assert!(!folder.path("dense/modeling_stablelm_moe.py").exists());
}

#[test]
fn a_dry_run_forecasts_and_writes_nothing() {
    let folder = with_experts();
    let told = merge(&folder, &["--dry-run", "--dtype", "bf16"]);
    assert_eq!(folder.names(), ["model", "moe"]);
    let text =
        stdout(&done(&mut coppice(["merge-experts", "--model", &folder.arg("moe"), "--output", &folder.arg("dense"), "--dtype", "bf16"])));
    assert!(text.contains("4 experts of 2 layers merged into MLPs of 48 units"), "{text}");
    let bytes = fs::metadata(folder.path("dense/model.safetensors")).unwrap().len();
    let forecast = told["bytes"].as_u64().unwrap();
    assert!(forecast < bytes && bytes < forecast + 16_384, "{forecast} forecast, {bytes} written");
}

#[test]
fn what_cannot_be_merged_is_refused_in_one_sentence() {
    let folder = with_experts();
    let before = folder.names();
    let (moe, output) = (folder.arg("moe"), folder.arg("dense"));
    let told = |model: &str, options: &[&str]| refused(coppice(["merge-experts", "--model", model, "--output", &output]).args(options));
    assert!(told(&folder.arg("model"), &[]).contains("the model is dense"));
    assert!(told(&moe, &["--weights", "load"]).contains("needs --text"));
    assert!(told(&moe, &["--text", &folder.arg("nothing.txt")]).contains("only read with --weights load"));
    assert!(told(&moe, &["--weights", "load", "--text", &folder.arg("nothing.txt")]).contains("nothing.txt"));
    assert_eq!(folder.names(), before);
    folder.write("dense", "mine");
    assert!(told(&moe, &[]).contains("--overwrite"));
    assert_eq!(folder.read("dense"), "mine");
}
