//! `train --nproc`: what is refused before any rank is started, in one sentence.

use crate::support::outcome::ended;
use crate::support::signals::{lines_of, signal_when, start};
use crate::support::{Folder, coppice, done, json_of, recipe, refused, stderr};

const GOOD: &str = "steps = 2\nschedule = { peak = 1e-3 }";

#[test]
fn a_number_of_ranks_that_cannot_be_is_refused() {
    let folder = Folder::with_model();
    let recipe = recipe::write(&folder, GOOD);
    for bad in ["0", "-1", "two", "1.5", ""] {
        let output = ended(&mut coppice(["train", &recipe, "--output", &folder.arg("run"), &format!("--nproc={bad}")]), 2);
        assert!(stderr(&output).contains("--nproc"), "{}", stderr(&output));
        assert!(!folder.path("run").exists());
    }
}

#[test]
fn ranks_within_a_rank_are_refused() {
    let folder = Folder::with_model();
    let recipe = recipe::write(&folder, GOOD);
    let told = refused(coppice(["train", &recipe, "--output", &folder.arg("run"), "--nproc", "2"]).env("RANK", "0"));
    assert!(told.contains("--nproc") && told.contains("RANK is set"), "{told}");
    assert!(!folder.path("run").exists());
}

#[test]
fn a_bad_recipe_is_told_once_and_not_by_every_rank() {
    let folder = Folder::with_model();
    let recipe = recipe::write(&folder, "steps = 0\nschedule = { peak = 1e-3 }");
    let told = refused(&mut coppice(["train", &recipe, "--output", &folder.arg("run"), "--nproc", "2"]));
    assert!(told.contains("steps"), "{told}");
    assert!(!folder.path("run").exists());
}

#[test]
fn a_dry_run_plans_for_all_ranks_and_starts_none() {
    let folder = Folder::with_model();
    let recipe = recipe::write(&folder, GOOD);
    let plan =
        |ranks: &str| json_of(&mut coppice(["train", &recipe, "--output", &folder.arg("run"), "--dry-run", "--json", "--nproc", ranks]));
    assert_eq!(plan("1")["parameters"], plan("2")["parameters"]);
    assert!(!folder.path("run").exists());
}

/// Whether this build can distribute; says so where it cannot.
fn ready() -> bool {
    if !coppice_models::distributed::AVAILABLE {
        eprintln!("SKIPPED: this build has no distribution (no gloo headers)");
    }
    coppice_models::distributed::AVAILABLE
}

fn losses(folder: &Folder, run: &str) -> Vec<f64> {
    folder.lines(&format!("{run}/metrics.jsonl")).iter().filter_map(|line| line["loss"].as_f64()).collect()
}

#[test]
fn two_ranks_train_what_one_process_trains_and_only_one_of_them_speaks() {
    if !ready() {
        return;
    }
    let folder = Folder::with_model();
    let recipe = recipe::write(&folder, "steps = 12\nschedule = { peak = 3e-3 }\nvalidation = { every_steps = 6 }");
    let train = |run: &str, more: &[&str]| {
        json_of(coppice(["train", &recipe, "--output", &folder.arg(run), "--json"]).args(more).env("OMP_NUM_THREADS", "1"))
    };
    let (one, two) = (train("one", &[]), train("two", &["--nproc", "2"]));
    let (expected, found) = (losses(&folder, "one"), losses(&folder, "two"));
    assert_eq!(found.len(), 12);
    let farthest = found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f64::max);
    assert!(farthest < 1e-4, "{farthest}");
    let validation = |outcome: &serde_json::Value| outcome["validation"]["loss"].as_f64().unwrap();
    assert!((validation(&one) - validation(&two)).abs() < 1e-4);
}

#[test]
fn an_interrupted_launch_saves_its_state_and_goes_on() {
    if !ready() {
        return;
    }
    let folder = Folder::with_model();
    let recipe = recipe::write(&folder, "steps = 200\nschedule = { peak = 3e-3 }");
    let train = |run: &str, resume: &str| {
        let mut command = coppice(["train", &recipe, "--output", &folder.arg(run), "--nproc", "2", "--resume", resume]);
        command.env("OMP_NUM_THREADS", "1");
        command
    };
    let metrics = folder.path("run").join("metrics.jsonl");
    let output = signal_when(start(&mut train("run", "never")), libc::SIGINT, || lines_of(&metrics) >= 5);
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(!folder.path("run").join("model").exists());
    done(&mut train("run", "auto"));
    assert_eq!(losses(&folder, "run").len(), 200);
}
