//! `train` under SIGKILL at random moments and in the middle of checkpoints, and with damaged ones: every resumed run ends in the bits of
//! one that was let be.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::folder::names;
use crate::support::signals::{lines_of, start};
use crate::support::{Folder, coppice, done, recipe, stderr, words};

const STEPS: usize = 240;

/// Kills at random moments.
const KILLS: usize = 20;

/// Kills that must fall into the writing of a checkpoint.
const HITS: usize = 3;

/// Longest wait for a process to get somewhere.
const PATIENCE: Duration = Duration::from_secs(60);

fn folder_with_recipe(checkpoints: &str) -> (Folder, String) {
    let folder = Folder::with_model();
    let rest = format!(
        "steps = {STEPS}\nschedule = {{ peak = 3e-3, warmup_steps = 5 }}\ncheckpoints = {{ {checkpoints} }}\nlog = {{ tensorboard = true }}"
    );
    let recipe = recipe::write(&folder, &rest);
    (folder, recipe)
}

fn train(folder: &Folder, recipe: &str, run: &str) -> Command {
    let mut command = coppice(["train", recipe, "--output", &folder.arg(run)]);
    command.args(words("--resume auto"));
    command
}

/// Waits until `reached` holds; fails where the process ends before.
fn wait_until(child: &mut Child, what: &str, reached: impl Fn() -> bool) {
    let begin = Instant::now();
    while !reached() {
        assert!(child.try_wait().unwrap().is_none(), "ended before {what}");
        assert!(begin.elapsed() < PATIENCE, "never came to {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Half-written folders.
fn unfinished(checkpoints: &Path) -> BTreeSet<String> {
    if !checkpoints.exists() {
        return BTreeSet::new();
    }
    names(checkpoints).into_iter().filter(|name| name.ends_with(".tmp")).collect()
}

/// Kills while a folder that was not there before is being filled; whether it was left behind.
fn kill_in_a_checkpoint(mut child: Child, checkpoints: &Path) -> bool {
    let before = unfinished(checkpoints);
    let begun = || -> BTreeSet<String> { unfinished(checkpoints).difference(&before).cloned().collect() };
    wait_until(&mut child, "a checkpoint", || !begun().is_empty());
    kill(child);
    // Folders on their way out carry the name of a step.
    begun().iter().any(|name| !name.starts_with(".step-"))
}

/// Weights, and step and loss of every line.
fn outcome(folder: &Folder, run: &str) -> (Vec<u8>, Vec<(u64, f64)>) {
    let lines = folder.lines(&format!("{run}/metrics.jsonl"));
    let steps = lines.iter().filter_map(|line| Some((line["step"].as_u64()?, line["loss"].as_f64()?)));
    (fs::read(folder.path(run).join("model/model.safetensors")).unwrap(), steps.collect())
}

fn expect_equal(folder: &Folder, run: &str, told: &str) {
    let ((weights, steps), (expected_weights, expected_steps)) = (outcome(folder, run), outcome(folder, "whole"));
    assert!(weights == expected_weights, "{told}: the weights differ");
    assert_eq!(steps, expected_steps, "{told}");
    assert!(steps.iter().map(|&(step, _)| step).eq(1..=STEPS as u64), "{told}: {steps:?}");
}

#[test]
fn a_run_killed_at_twenty_random_moments_ends_in_the_same_bits() {
    let (folder, recipe) = folder_with_recipe("every_steps = 2");
    done(&mut train(&folder, &recipe, "whole"));
    let seed = u64::from(std::process::id());
    let mut rng = StdRng::seed_from_u64(seed);
    let (metrics, mut most) = (folder.path("run/metrics.jsonl"), 0);
    for _ in 0..KILLS {
        let mut child = start(&mut train(&folder, &recipe, "run"));
        // Two steps further than ever at most, so that the run is not over before the last kill; or anywhere in the start.
        let further = rng.random_range(0..3);
        if further > 0 {
            wait_until(&mut child, "its step", || lines_of(&metrics) >= most + further);
        }
        std::thread::sleep(Duration::from_micros(rng.random_range(0..20_000)));
        kill(child);
        most = most.max(lines_of(&metrics));
    }
    assert!(most < STEPS && !folder.path("run/model").exists(), "seed {seed}: the run was over after {most} steps");
    done(&mut train(&folder, &recipe, "run"));
    expect_equal(&folder, "run", &format!("seed {seed}"));
}

#[test]
fn a_run_killed_inside_checkpoints_ends_in_the_same_bits() {
    let (folder, recipe) = folder_with_recipe("every_steps = 1");
    done(&mut train(&folder, &recipe, "whole"));
    let (checkpoints, mut hits, mut kills) = (folder.path("run/checkpoints"), 0, 0);
    while hits < HITS {
        hits += usize::from(kill_in_a_checkpoint(start(&mut train(&folder, &recipe, "run")), &checkpoints));
        kills += 1;
        assert!(kills < 20, "{hits} of {kills} kills fell into a checkpoint");
    }
    done(&mut train(&folder, &recipe, "run"));
    assert_eq!(unfinished(&checkpoints), BTreeSet::new());
    expect_equal(&folder, "run", &format!("{hits} of {kills} kills"));
}

#[test]
fn a_truncated_and_an_altered_checkpoint_are_named_and_the_one_before_is_used() {
    let (folder, recipe) = folder_with_recipe("every_steps = 10, keep_last = 4");
    for run in ["whole", "run"] {
        done(&mut train(&folder, &recipe, run));
    }
    fs::remove_dir_all(folder.path("run/model")).unwrap();
    let checkpoint = |step: usize| folder.path("run/checkpoints").join(format!("step-{step:08}"));
    let mut bytes = fs::read(checkpoint(240).join("optimizer.safetensors")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(checkpoint(240).join("optimizer.safetensors"), &bytes).unwrap();
    fs::write(checkpoint(230).join("optimizer.safetensors"), &bytes[..middle]).unwrap();
    let told = stderr(&done(&mut train(&folder, &recipe, "run")));
    for damaged in ["step-00000240", "step-00000230"] {
        assert!(told.contains(&format!("skipped damaged checkpoint {}", folder.path("run/checkpoints").join(damaged).display())), "{told}");
    }
    assert!(told.contains("resumed at step 220"), "{told}");
    expect_equal(&folder, "run", &told);
}
