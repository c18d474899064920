//! `train`: loss falls, a killed run resumes to the same bits, a run that diverges says no.

use std::fs;

use crate::support::outcome::ended;
use crate::support::signals::{lines_of, signal_when, start};
use crate::support::{Folder, coppice, done, json_of, recipe, refused, sentence, stderr, words};

const LONG: &str = "steps = 80\nschedule = { kind = \"cosine\", peak = 3e-3, warmup_steps = 5 }\ncheckpoints = { every_steps = 7 }";

fn train(folder: &Folder, recipe: &str, run: &str, options: &str) -> std::process::Command {
    let mut command = coppice(["train", recipe, "--output", &folder.arg(run)]);
    command.args(words(options));
    command
}

#[test]
fn a_short_run_learns_and_leaves_a_model_that_scores() {
    let folder = Folder::with_model();
    let recipe = recipe::write(&folder, "steps = 12\nschedule = { peak = 1e-2, warmup_steps = 2 }\nvalidation = { every_steps = 6 }");
    let outcome = json_of(&mut train(&folder, &recipe, "run", "--json"));
    let lines = folder.lines("run/metrics.jsonl");
    let losses: Vec<f64> = lines.iter().filter_map(|line| line["loss"].as_f64()).collect();
    assert_eq!(losses.len(), 12);
    assert!((losses[0] - 264_f64.ln()).abs() < 0.2, "random weights know nothing: {losses:?}");
    assert!(losses[11] < losses[0] - 0.5, "{losses:?}");
    let told = outcome["validation"]["perplexity"].as_f64().unwrap();
    assert!((told.ln() - outcome["validation"]["loss"].as_f64().unwrap()).abs() < 1e-9);
    let model = outcome["model"].as_str().unwrap();
    done(&mut coppice(["generate", "--model", model, "--prompt", "Document", "--max-new-tokens", "4"]));
}

#[test]
fn a_killed_run_resumes_to_the_same_bits() {
    let folder = Folder::with_model();
    let recipe = recipe::write(&folder, LONG);
    done(&mut train(&folder, &recipe, "whole", ""));
    let steps_before = 1 + std::process::id() as usize % 30;
    for (run, signal) in [("killed", libc::SIGKILL), ("stopped", libc::SIGINT)] {
        let metrics = folder.path(run).join("metrics.jsonl");
        let output = signal_when(start(&mut train(&folder, &recipe, run, "")), signal, || lines_of(&metrics) >= steps_before);
        assert!(!folder.path(run).join("model").exists(), "finished before the signal came");
        if signal == libc::SIGINT {
            assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
            assert!(stderr(&output).contains("--resume auto"), "{}", stderr(&output));
        }
        done(&mut train(&folder, &recipe, run, "--resume auto"));
        let weights = |run: &str| fs::read(folder.path(run).join("model/model.safetensors")).unwrap();
        assert!(weights(run) == weights("whole"), "{run} after {steps_before} steps differs");
        let losses = |run: &str| folder.lines(&format!("{run}/metrics.jsonl")).iter().map(|line| line["loss"].clone()).collect::<Vec<_>>();
        assert_eq!(losses(run), losses("whole"), "every step stands once in the log");
    }
}

#[test]
fn a_run_that_diverges_exits_1_and_says_what_to_try() {
    let folder = Folder::with_model();
    let recipe = recipe::write(&folder, "steps = 10\nschedule = { kind = \"constant\", peak = 1e25 }");
    let output = ended(&mut train(&folder, &recipe, "run", ""), 1);
    let told = sentence(&output);
    assert!(told.contains("learning rate") && (told.contains("NaN") || told.contains("inf")), "{told}");
    assert!(!folder.path("run/model").exists());
}

#[test]
fn a_loss_spike_exits_1_and_names_the_checkpoint_before_it() {
    let folder = Folder::with_model();
    let schedule = "schedule = { kind = \"constant\", peak = 1e-3, cooldown_steps = 20, cooldown_from = 3.0 }";
    let watchdog = "watchdog = { action = \"stop\", threshold = 3.0, patience = 2, window = 32 }";
    let recipe = recipe::write(&folder, &format!("steps = 40\n{schedule}\n{watchdog}\ncheckpoints = {{ every_steps = 10 }}"));
    let output = ended(&mut train(&folder, &recipe, "run", ""), 1);
    let told = sentence(&output);
    assert!(told.contains("far above its median") && told.contains("on documents") && told.contains("step-000000"), "{told}");
    assert!(!folder.path("run/model").exists());
}

#[test]
fn a_run_folder_in_use_is_refused() {
    let folder = Folder::with_model();
    let recipe = recipe::write(&folder, "steps = 1\nschedule = { peak = 1e-3 }");
    done(&mut train(&folder, &recipe, "run", ""));
    let before = fs::read(folder.path("run/model/model.safetensors")).unwrap();
    let told = refused(&mut train(&folder, &recipe, "run", ""));
    assert!(told.contains("already holds a training run") && told.contains("resume"), "{told}");
    assert!(before == fs::read(folder.path("run/model/model.safetensors")).unwrap());
}

#[test]
fn a_dry_run_plans_and_writes_nothing() {
    let folder = Folder::with_model();
    let recipe = recipe::write(&folder, LONG);
    let before = folder.names();
    let plan = json_of(&mut train(&folder, &recipe, "run", "--dry-run --json"));
    assert_eq!(plan["tokens"].as_u64(), Some(80 * 4 * 32));
    assert_eq!(folder.names(), before);
}

/// Upcycles the tiny model to four experts at top-1 and trains it for three steps, `rest` the last lines of its recipe.
fn train_top_1(folder: &Folder, gate: &str, rest: &str) -> std::process::Output {
    let (model, moe) = (folder.arg("model"), folder.arg("moe"));
    let made = ["upcycle", "--model", &model, "--output", &moe, "--experts", "4", "--top-k", "1", "--gate", gate, "--no-report"];
    done(&mut coppice(made));
    let recipe = recipe::write(folder, &format!("steps = 3\nschedule = {{ peak = 1e-3 }}\n{rest}"));
    let text =
        fs::read_to_string(&recipe).unwrap().replace(&format!("config = \"{model}/config.json\""), &format!("checkpoint = \"{moe}\""));
    let recipe = folder.write("recipe.toml", text.replace("seed = 3\n", ""));
    done(&mut train(folder, &recipe, "run", ""))
}

#[test]
fn an_upcycled_model_is_trained_with_its_router_in_the_log() {
    let folder = Folder::with_model();
    let output = train_top_1(&folder, "softmax_topk_st", "log = { expert_load_every = 1 }");
    assert!(!stderr(&output).contains("gradient"), "{}", stderr(&output));
    let first = &folder.lines("run/metrics.jsonl")[0];
    assert!(first["router_grad_norm"].as_f64().unwrap() > 0.0, "{first}");
    let load = &first["expert_load"][0];
    let shares: f64 = load["share"].as_array().unwrap().iter().filter_map(serde_json::Value::as_f64).sum();
    assert!((shares - 1.0).abs() < 1e-6, "{first}");
    assert!(load["similarity"].as_f64().unwrap() > 0.9, "copies after one step: {first}");
    assert!(load["load_entropy"].as_f64().unwrap() > 0.0 && load["dead"].is_u64() && load["drop_rate"].as_f64() == Some(0.0), "{first}");
    assert!(first["balance_per_layer"].is_array() && first["z_per_layer"].is_array(), "{first}");
}

#[test]
fn what_routers_cannot_learn_from_is_said_once() {
    let folder = Folder::with_model();
    let output = train_top_1(&folder, "topk_softmax", "losses = { balance_coefficient = 0.0 }\nrouting = { capacity = { factor = 1.0 } }");
    let told = stderr(&output);
    assert_eq!(told.matches("softmax_topk_st").count(), 1, "{told}");
    assert_eq!(told.matches("the balance loss is off").count(), 1, "{told}");
}
