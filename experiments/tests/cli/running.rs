//! `run`, `report` and `data synth`: a whole tiny experiment, its cache, and its page.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::signals::{lines_of, signal_when, start};
use crate::support::{Folder, coppice, done, json_of, refused, stderr, stdout};

/// A dozen people, two layers, a few steps: everything real and nothing learned.
const RECIPE: &str = r#"
name = "tiny"
title = "Tiny"
question = "Does every stage run?"
seeds = [1, 2]
[world]
seed = 1
passes = 2
templates = 2
question_forms = 1
passers_by_per_pass = 4
validation_documents = 8
ambiguous_share = 0.25
wrong_share = 0.25
levels = [{ exposures_per_pass = 0, people = 4 }, { exposures_per_pass = 1, people = 8 }, { exposures_per_pass = 4, people = 8 }]
pools = { birth_years = 1, cities = 8, universities = 6, majors = 4, employers = 6, employer_cities = 3 }
[tokenizer]
vocab_size = 500
[model]
hidden_size = 32
intermediate_size = 48
num_hidden_layers = 2
num_attention_heads = 4
[pretrain]
passes = 1
train = { sequence_length = 64, batch_size = 4, schedule = { peak = 1e-2, warmup_steps = 2 }, validation = { every_steps = 10 } }
[continue]
passes = 1
train = { sequence_length = 64, batch_size = 8, schedule = { kind = "reset", peak = 5e-3, warmup_steps = 2 } }
[[arms]]
name = "dense"
label = "dense control"
[[arms]]
name = "top1"
label = "4 experts, top-1"
upcycle = { experts = 4, top_k = 1, gate = "softmax_topk_st" }
[detect]
questions = 24
samples = 2
pool_questions = 1
resamples = 50
context = 32
max_new_tokens = 8
[detector]
partings = 20
"#;

fn run(folder: &Folder, recipe: &str) -> Command {
    let recipe = folder.write("recipe.toml", recipe);
    coppice(["run", &recipe, "--output", &folder.arg("run")])
}

/// Names of the stages of the last run, and whether each was reused.
fn stages(folder: &Folder) -> Vec<(String, bool)> {
    let results: Value = serde_json::from_str(&folder.read("run/results.json")).unwrap();
    let stage = |stage: &Value| (stage["name"].as_str().unwrap().to_owned(), stage["cached"].as_bool().unwrap());
    results["stages"].as_array().unwrap().iter().map(stage).collect()
}

/// Where the pre-training's log stands once it is begun.
fn pretraining_under_way(folder: &Folder) -> bool {
    let stages = fs::read_dir(folder.path("run/stages")).into_iter().flatten().flatten();
    let mut logs =
        stages.filter(|stage| stage.file_name().to_string_lossy().starts_with("pretrain-")).map(|stage| stage.path().join("metrics.jsonl"));
    logs.any(|log| lines_of(&log) >= 2)
}

#[test]
fn an_interrupted_experiment_goes_on_ends_in_a_page_and_is_cached() {
    let folder = Folder::new();
    let output = signal_when(start(&mut run(&folder, RECIPE)), libc::SIGINT, || pretraining_under_way(&folder));
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(!folder.path("run/results.json").exists());

    done(&mut run(&folder, RECIPE));
    assert!(stages(&folder).contains(&("world".to_owned(), true)), "{:?}", stages(&folder));
    let page = folder.read("run/report/index.html");
    assert!(page.contains("<svg") && page.contains("dense control") && page.contains("4 experts, top-1"));
    assert!(page.contains("One calibrated detector, and every score"));
    assert!(!page.contains("http://") || !page.contains("<script src"), "self-contained");

    done(&mut run(&folder, RECIPE));
    assert!(stages(&folder).iter().all(|(_, cached)| *cached), "{:?}", stages(&folder));

    done(&mut run(&folder, &RECIPE.replace("samples = 2", "samples = 3")));
    let again: Vec<_> = stages(&folder).into_iter().filter(|(_, cached)| !cached).map(|(name, _)| name).collect();
    assert!(
        !again.is_empty() && again.iter().all(|name| ["answers-", "verdicts-", "detector"].iter().any(|start| name.starts_with(start))),
        "{again:?}"
    );

    fs::remove_dir_all(folder.path("run/report")).unwrap();
    let told = json_of(&mut coppice(["report", "--json", &folder.arg("run")]));
    assert!(fs::metadata(told["page"].as_str().unwrap()).unwrap().len() > 1000);
}

#[test]
fn a_recipe_is_checked_before_anything_is_written() {
    let folder = Folder::new();
    for (from, to, told) in [
        ("samples = 2", "sample = 2", "did you mean `samples`"),
        ("questions = 24", "questions = 0", "questions"),
        ("partings = 20", "alpha = 1.0", "detector: fit_share, calibration_share, alpha"),
        ("passes = 2", "passes = 5", "the world has 5 passes"),
        ("name = \"top1\"", "name = \"../top1\"", "../top1"),
        ("name = \"top1\"", "name = \"dense\"", "name of its own"),
        ("seeds = [1, 2]", "seeds = []", "seed"),
        ("experts = 4, top_k", "method = \"shufle\", experts = 4, top_k", "the nearest is \"shuffle\""),
        ("experts = 4, top_k = 1", "method = \"virtual_group\", granularity = 5, experts = 5, top_k = 5", "granularity 5 does not divide"),
        ("experts = 4, top_k", "method = \"branch_train_mix\", experts = 4, top_k", "no branch is given"),
        ("experts = 4, top_k", "branches = { count = 2, share = 0.5 }, experts = 4, top_k", "method copy takes none"),
        ("softmax_topk_st", "expert_choice", "not causal"),
        ("experts = 4, top_k", "noise_std = 0.1, experts = 4, top_k", "noise_std means nothing to method copy"),
    ] {
        let refusal = refused(&mut run(&folder, &RECIPE.replace(from, to)));
        assert!(refusal.contains(told), "expected {told} in: {refusal}");
        assert_eq!(folder.names(), ["recipe.toml"], "{told}");
    }
}

#[test]
fn a_dry_run_says_what_would_run() {
    let folder = Folder::new();
    let told = stdout(&done(run(&folder, RECIPE).arg("--dry-run")));
    assert!(told.contains("2 arms x 2 seeds"), "{told}");
    assert_eq!(folder.names(), ["recipe.toml"]);
}

#[test]
fn results_that_are_broken_are_named() {
    let folder = Folder::new();
    fs::create_dir(folder.path("run")).unwrap();
    folder.write("run/results.json", "{\"title\":");
    let told = refused(&mut coppice(["report", &folder.arg("run")]));
    assert!(told.contains("results.json"), "{told}");
    assert_eq!(crate::support::folder::names(&folder.path("run")), ["results.json"]);
}

#[test]
fn the_same_seed_makes_the_same_world_and_its_questions_have_true_answers() {
    let folder = Folder::new();
    let world = RECIPE.split("[world]\n").nth(1).unwrap().split("[tokenizer]").next().unwrap();
    let config = folder.write("world.toml", world);
    for output in ["one", "two"] {
        let arguments =
            ["data", "synth", "--json", "--output", &folder.arg(output), "--config", &config, "--seed", "9", "--vocabulary", "400"];
        assert!(json_of(&mut coppice(arguments))["demanded_bits"].as_f64().unwrap() > 0.0);
    }
    for file in ["train.jsonl", "valid.jsonl", "questions.jsonl", "knowledge.jsonl", "pools.json", "tokenizer/tokenizer.json"] {
        assert!(fs::read(folder.path("one").join(file)).unwrap() == fs::read(folder.path("two").join(file)).unwrap(), "{file}");
    }
    let told = refused(&mut coppice(["data", "synth", "--output", &folder.arg("one"), "--config", &config]));
    assert!(told.contains("exists"), "{told}");
}
