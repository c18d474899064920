//! Recipes that somebody mistyped: line and nearest known key are named, nothing is written.

use crate::support::{Folder, coppice, recipe, refused};

const GOOD: &str = "steps = 2\nschedule = { peak = 1e-3 }";

fn assert_says(told: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| told.contains(part)), "expected {parts:?} in: {told}");
}

/// What `train` says of a recipe whose last lines are these.
fn refusal(folder: &Folder, train: &str) -> String {
    let recipe = recipe::write(folder, train);
    let before = folder.names();
    let told = refused(&mut coppice(["train", &recipe, "--output", &folder.arg("run")]));
    assert_eq!(folder.names(), before);
    told
}

#[test]
fn an_unknown_key_is_refused_with_line_and_nearest_name() {
    let folder = Folder::with_model();
    // The recipe's own lines are 12: model 1 to 4, data 6 to 8, train 10 to 12.
    assert_says(
        &refusal(&folder, &format!("{GOOD}\nbatch_sise = 3")),
        &["recipe.toml", "line 15", "`batch_sise`", "did you mean `batch_size`"],
    );
    let nested = "steps = 2\nschedule = { peak = 1e-3, warm_up_steps = 1 }";
    assert_says(&refusal(&folder, nested), &["line 14", "`warm_up_steps`", "did you mean `warmup_steps`"]);
    assert_says(&refusal(&folder, &format!("{GOOD}\n[dta]\n")), &["`dta`", "did you mean `data`"]);
    let kind = "steps = 2\nschedule = { peak = 1e-3, kind = \"cosin\" }";
    assert_says(&refusal(&folder, kind), &["`cosin`", "did you mean `cosine`"]);
}

#[test]
fn values_that_cannot_be_are_refused_by_name() {
    let folder = Folder::with_model();
    for (train, told) in [
        ("steps = 0\nschedule = { peak = 1e-3 }", "steps"),
        ("steps = -1\nschedule = { peak = 1e-3 }", "line 13"),
        ("steps = 2\nschedule = { peak = nan }", "peak"),
        ("steps = 2\nschedule = { peak = -1.0 }", "peak"),
        ("steps = 2\nschedule = { peak = 1e-3, warmup_steps = 9 }", "warmup_steps"),
        ("steps = 2\nschedule = { peak = 1e-3 }\noptimizer = { betas = [1.0, 0.9] }", "betas"),
        ("steps = 2", "schedule"),
        ("steps = 2\nsteps = 3", "line 14"),
    ] {
        assert_says(&refusal(&folder, train), &[told]);
    }
}

#[test]
fn a_model_no_machine_holds_is_refused_before_it_is_made() {
    let folder = Folder::with_model();
    let recipe = recipe::write(&folder, GOOD);
    let mut config = crate::support::config();
    for (key, told) in [("hidden_size", "GB"), ("intermediate_size", "GB"), ("vocab_size", "GB")] {
        config[key] = (1_i64 << 24).into();
        folder.write("model/config.json", config.to_string());
        let refusal = refused(&mut coppice(["train", &recipe, "--output", &folder.arg("run")]));
        assert!(refusal.contains(told) || refusal.contains("2^53 parameters"), "{refusal}");
        assert!(!folder.path("run").exists());
    }
}

#[test]
fn a_corpus_that_is_bad_is_refused_with_its_line() {
    let folder = Folder::with_model();
    let recipe = recipe::write(&folder, GOOD);
    for (content, told) in [
        ("", vec!["train.jsonl", "empty"]),
        ("{\"text\":\"a\"}\n{\"txt\":\"b\"}\n", vec!["train.jsonl, line 2", "text"]),
        ("{\"text\":\"a\"}\nnonsense\n", vec!["train.jsonl, line 2"]),
        ("{\"text\":\"a\"}\n", vec!["tokens"]),
    ] {
        folder.write("train.jsonl", content);
        assert_says(&refused(&mut coppice(["train", &recipe, "--output", &folder.arg("run")])), &told);
        assert!(!folder.path("run").exists());
    }
}

#[test]
fn files_that_are_not_there_are_named() {
    let folder = Folder::with_model();
    assert_says(&refused(&mut coppice(["train", &folder.arg("none.toml")])), &["none.toml", "No such file"]);
    assert_says(&refused(&mut coppice(["run", &folder.arg("none.toml")])), &["none.toml", "No such file"]);
    assert_says(&refused(&mut coppice(["report", &folder.arg("none")])), &["none", "No such file"]);
    let recipe = folder.write("latin.toml", b"name = \"\xe9\"");
    assert_says(&refused(&mut coppice(["run", &recipe])), &["latin.toml", "UTF-8"]);
}

#[test]
fn a_world_that_cannot_be_is_refused() {
    let folder = Folder::new();
    let synth = |world: &str| {
        let config = folder.write("world.toml", world);
        let told = refused(&mut coppice(["data", "synth", "--output", &folder.arg("world"), "--config", &config]));
        assert_eq!(folder.names(), ["world.toml"]);
        told
    };
    assert_says(&synth("templates = 99"), &["templates = 99", "between 1 and 8"]);
    assert_says(&synth("templats = 3"), &["line 1", "did you mean `templates`"]);
    assert_says(&synth("levels = []"), &["levels"]);
    assert_says(&synth("ambiguous_share = 0.7\nwrong_share = 0.7"), &["ambiguous_share + wrong_share"]);
}

#[test]
fn a_vocabulary_too_small_for_the_bytes_is_refused_before_anything_is_written() {
    let folder = Folder::new();
    let told = refused(&mut coppice(["data", "synth", "--output", &folder.arg("world"), "--vocabulary", "10"]));
    assert_says(&told, &["10", "257"]);
    assert_eq!(folder.names(), [""; 0]);
}
