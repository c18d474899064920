//! Two and four processes that train as one: the same losses as a single process, checkpoints that any number of them resumes, and a rank
//! that is lost.

#[path = "../../models/tests/ranks/mod.rs"]
mod ranks;
mod tiny;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use coppice_models::config::{Config, Gate, MoeConfig};
use coppice_upcycle::train::parallel::Ranks;
use coppice_upcycle::train::{Event, Outcome, Resume, TrainConfig, TrainError, Trainer};
use serde_json::{Value, json};
use tiny::{config, model, recipe, step_lines, tokens};

const FOLDER: &str = "COPPICE_TEST_FOLDER";
const CASE: &str = "COPPICE_TEST_CASE";

/// Eight experts, two for each token, in both layers.
fn mixture() -> Config {
    let moe = MoeConfig {
        num_experts: 8,
        experts_per_token: 2,
        gate: Gate::TopkSoftmax,
        layers: vec![0, 1],
        expert_intermediate_size: 48,
        ..MoeConfig::default()
    };
    Config { moe: Some(moe), ..config(64, None) }
}

/// What a case trains: with two micro-batches a rank where there are two ranks.
fn case(name: &str) -> (Config, TrainConfig) {
    let changes = |level: &str, micro_batch: usize, jitter: f64, experts: usize| {
        json!({"steps": 20, "batch_size": 8, "micro_batch_size": micro_batch, "routing": {"jitter": jitter}, "optimizer": {"clip_norm": 0.3}, "schedule": {"peak": 1e-3},
               "parallel": {"experts": experts, "bucket_mib": 1, "timeout_seconds": 20},
               "losses": {"balance_coefficient": 0.05, "balance_level": level},
               "checkpoints": {"every_steps": 5, "keep_last": 4}, "log": {"tensorboard": false, "expert_load_every": 1}})
    };
    match name {
        "dense" => (config(64, None), recipe(&changes("micro_batch", 2, 0.0, 1))),
        "mixture" => (mixture(), recipe(&changes("micro_batch", 2, 0.0, 1))),
        "experts" => (mixture(), recipe(&changes("micro_batch", 2, 0.0, 2))),
        // Loads over the whole step: one micro-batch a rank, against one of all sequences.
        "global" => (mixture(), recipe(&changes("global_batch", 8, 0.0, 1))),
        other => panic!("no case {other}"),
    }
}

fn trained(
    ranks: Ranks,
    name: &str,
    changes: &Value,
    folder: &Path,
    resume: Resume,
    tell: &mut dyn FnMut(&Event),
) -> Result<Outcome, TrainError> {
    let (config, recipe) = case(name);
    let mut all = serde_json::to_value(recipe).unwrap();
    all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let recipe = serde_json::from_value(all).unwrap();
    let mut trainer = Trainer::among(ranks, model(&config), recipe, tokens(1, 700), Some(tokens(2, 100)), folder)?;
    trainer.run(resume, tell, &AtomicBool::new(false))
}

/// Whether this build can distribute; says so where it cannot.
fn ready() -> bool {
    if !coppice_models::distributed::AVAILABLE {
        eprintln!("SKIPPED: this build has no distribution (no gloo headers)");
    }
    coppice_models::distributed::AVAILABLE
}

/// A single process, for comparison.
fn alone(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    trained(Ranks::alone(), name, &json!({}), folder.path(), Resume::Never, &mut |_| {}).unwrap();
    folder
}

/// Not a test of its own: what each process of the others does.
#[test]
fn as_one_of_several() {
    let Some(world) = ranks::world("as_one_of_several") else { return };
    let (folder, name) = (PathBuf::from(std::env::var(FOLDER).unwrap()), std::env::var(CASE).unwrap());
    let (name, fate) = name.split_once(' ').unwrap_or((&name, ""));
    let ranks = Ranks::of(&world, &case(name).1.parallel, tch::Device::Cpu).unwrap();
    let rank = world.rank;
    let mut tell = |event: &Event| {
        if matches!(event, Event::Step(at) if at.step == 8) && fate == format!("kill {rank}") {
            std::process::abort();
        }
    };
    let outcome = trained(ranks, name, &json!({}), &folder, Resume::Auto, &mut tell);
    if fate.is_empty() {
        outcome.unwrap();
    } else {
        std::fs::write(folder.join(format!("told-{rank}")), outcome.unwrap_err().to_string()).unwrap();
    }
}

/// Starts `size` ranks on `case`; their exit codes.
fn several(size: usize, case: &str, folder: &Path) -> Vec<bool> {
    let extra = [(FOLDER, folder.to_str().unwrap()), (CASE, case)];
    let children = ranks::start_with("as_one_of_several", size, &extra);
    let ended = children.into_iter().map(|child| {
        let output = child.wait_with_output().unwrap();
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success()
    });
    ended.collect()
}

fn farthest(one: &Path, other: &Path) -> f64 {
    let (one, other) = (step_lines(one), step_lines(other));
    assert_eq!(one.len(), other.len());
    let pairs = one.iter().zip(&other).flat_map(|(a, b)| {
        let optional = |x: Option<f64>| x.unwrap_or_default();
        [(a.loss, b.loss), (a.grad_norm, b.grad_norm), (optional(a.balance), optional(b.balance)), (optional(a.z), optional(b.z))]
    });
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn as_one(size: usize, case: &str) {
    let (single, shared) = (alone(case), tempfile::tempdir().unwrap());
    assert!(several(size, case, shared.path()).into_iter().all(|well| well));
    let difference = farthest(single.path(), shared.path());
    assert!(difference < 1e-4, "{case} on {size} ranks: {difference}");
    let exported = |folder: &Path| std::fs::read(folder.join("model/config.json")).unwrap();
    assert_eq!(exported(single.path()), exported(shared.path()));
}

#[test]
fn data_parallel_dense_equals_one_process() {
    if ready() {
        as_one(2, "dense");
        as_one(4, "dense");
    }
}

#[test]
fn data_parallel_experts_equal_one_process() {
    if ready() {
        as_one(2, "mixture");
        as_one(4, "mixture");
        as_one(2, "global");
    }
}

#[test]
fn spread_experts_equal_one_process() {
    if ready() {
        as_one(2, "experts"); // four experts on each
        as_one(4, "experts"); // two pairs of ranks, each with all eight
    }
}

/// Takes the newest checkpoints away until one of step 10 is the newest.
fn go_back(folder: &Path) {
    for step in [15, 20] {
        let _ = std::fs::remove_dir_all(folder.join(format!("checkpoints/step-{step:08}")));
    }
}

#[test]
fn a_checkpoint_of_several_is_that_of_one() {
    for case in ["dense", "experts"].into_iter().filter(|_| ready()) {
        let folder = tempfile::tempdir().unwrap();
        assert!(several(2, case, folder.path()).into_iter().all(|well| well));
        let before = step_lines(folder.path());
        let same = || step_lines(folder.path()).iter().zip(&before).map(|(a, b)| (a.loss - b.loss).abs()).fold(0.0, f64::max) < 1e-4;
        go_back(folder.path());
        let mut resumed = 0;
        let mut tell = |event: &Event| resumed = if let Event::Resumed { step, .. } = event { *step } else { resumed };
        trained(Ranks::alone(), case, &json!({}), folder.path(), Resume::Auto, &mut tell).unwrap();
        assert!(resumed == 10 && same(), "{case}");
        // And the other way: four go on from what one has left.
        go_back(folder.path());
        assert!(several(4, case, folder.path()).into_iter().all(|well| well));
        assert!(step_lines(folder.path()).len() == 20 && same(), "{case}");
    }
}

#[test]
fn a_lost_rank_ends_the_others_with_a_checkpoint() {
    if !ready() {
        return;
    }
    for lost in [0, 1] {
        let folder = tempfile::tempdir().unwrap();
        let ended = several(2, &format!("dense kill {lost}"), folder.path());
        assert_eq!(ended, [lost != 0, lost != 1]);
        let told = std::fs::read_to_string(folder.path().join(format!("told-{}", 1 - lost))).unwrap();
        // The leading rank saves the last whole step; without it there is the last checkpoint.
        let step = if lost == 0 { 5 } else { 8 };
        assert!(told.starts_with("another rank was lost (") && told.ends_with(&format!("checkpoints/step-{step:08}")), "{told}");
        assert!(several(2, "dense", folder.path()).into_iter().all(|well| well));
        assert_eq!(step_lines(folder.path()).len(), 20);
        assert!(farthest(alone("dense").path(), folder.path()) < 1e-4);
    }
}

#[test]
fn what_does_not_divide_is_refused() {
    let refused = |changes: Value| {
        let folder = tempfile::tempdir().unwrap();
        trained(Ranks::alone(), "dense", &changes, folder.path(), Resume::Never, &mut |_| {}).unwrap_err().to_string()
    };
    assert!(refused(json!({"parallel": {"experts": 0}})).contains("parallel.experts is 0"));
}
