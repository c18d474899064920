//! What makes a run one that can be left alone: damage of checkpoints is seen, a loss that leaves its course is told, and whoever watches
//! finds event files.

mod tiny;

use std::sync::atomic::AtomicBool;

use coppice_upcycle::train::{Event, Resume, TrainConfig, TrainError, checkpoint};
use serde_json::json;
use tiny::{bits, config, recipe, run, run_until, step_lines, top_1, trainer};

/// `bytes` with one bit flipped, at up to about 200 places from the first byte to the last; cut short in three places (by more than
/// a newline); and none at all.
fn damages(bytes: &[u8]) -> Vec<Option<Vec<u8>>> {
    let last = bytes.len() - 1;
    let flipped = (0..=last).step_by(last / 200 + 1).chain([last]).map(|place| {
        let mut bytes = bytes.to_vec();
        bytes[place] ^= 1;
        Some(bytes)
    });
    let cut = [0, bytes.len() / 2, last - 1].map(|length| Some(bytes[..length].to_vec()));
    flipped.chain(cut).chain([None]).collect()
}

#[test]
fn damage_of_any_file_of_a_checkpoint_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    run_until(&mut trainer(&top_1(), recipe(&json!({})), folder.path()), 5, Resume::Never);
    let checkpoints = folder.path().join("checkpoints");
    let newest = checkpoints.join("step-00000005");
    let mut files: Vec<_> = std::fs::read_dir(&newest).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 5, "{files:?}");
    for file in files {
        let whole = std::fs::read(&file).unwrap();
        for (number, damaged) in damages(&whole).into_iter().enumerate() {
            damaged.map_or_else(|| std::fs::remove_file(&file), |bytes| std::fs::write(&file, bytes)).unwrap();
            let mut skipped = Vec::new();
            let found = checkpoint::newest(&checkpoints, |path, reason| skipped.push((path.to_owned(), reason.to_owned()))).unwrap();
            let told = format!("{} damaged in way {number}: {skipped:?}", file.display());
            assert_eq!(found.map(|(path, _)| path), Some(checkpoints.join("step-00000004")), "{told}");
            assert!(skipped.len() == 1 && skipped[0].0 == newest && skipped[0].1.contains("step-00000005"), "{told}");
            std::fs::write(&file, &whole).unwrap();
        }
    }
    assert_eq!(checkpoint::newest(&checkpoints, |_, _| {}).unwrap().map(|(path, _)| path), Some(newest));
}

/// A recipe whose rate leaps after step 20, which the loss does not survive.
fn leaping(action: &str) -> TrainConfig {
    let schedule = json!({"kind": "constant", "peak": 5.0, "min_ratio": 0.0, "warmup_steps": 0});
    let watchdog = json!({"action": action, "threshold": 3.0, "patience": 2, "window": 32});
    let mut config = recipe(&json!({"steps": 40, "schedule": schedule, "watchdog": watchdog, "optimizer": {"clip_norm": 0.0}}));
    config.schedule.peak = 1e-3;
    config.schedule.cooldown_steps = 20;
    config.schedule.cooldown_from = Some(3.0);
    config
}

#[test]
fn a_loss_spike_stops_the_run_where_the_recipe_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut stopped = trainer(&config(64, None), leaping("stop"), folder.path());
    let Err(error) = run(&mut stopped, Resume::Never) else { panic!("the run went on") };
    let TrainError::Spike { step, first, value, median, ref documents, ref checkpoint, .. } = error else { panic!("{error}") };
    assert!(first > 20 && step == first + 1 && value > median, "{error}");
    assert!(!documents.is_empty());
    let good = checkpoint.as_deref().and_then(checkpoint::step_of).unwrap();
    assert!(good < first && first - good <= 2, "{error}");
    assert!(error.to_string().contains("last good checkpoint"), "{error}");
    assert_eq!(step_lines(folder.path()).last().map(|line| line.step), Some(step));
    // Resumed, it comes to the same end: what the watchdog knew is in the metrics.
    let mut again = trainer(&config(64, None), leaping("stop"), folder.path());
    assert_eq!(run(&mut again, Resume::Auto).unwrap_err().to_string(), error.to_string());
}

#[test]
fn a_loss_spike_is_told_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let weights = ["warn", "off"].map(|action| {
        let mut notes = Vec::new();
        let mut watch = |event: &Event| {
            if let Event::Note { text } = event {
                notes.push((*text).to_owned());
            }
        };
        let mut told = trainer(&config(64, None), leaping(action), &folder.path().join(action));
        told.run(Resume::Never, &mut watch, &AtomicBool::new(false)).unwrap();
        assert_eq!(notes.iter().any(|note| note.contains("far above its median")), action == "warn", "{notes:?}");
        bits(&told)
    });
    assert!(weights[0] == weights[1], "the watchdog changed the weights");
}

#[test]
fn event_files_stand_in_a_folder_of_their_own_where_they_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    for wanted in [false, true] {
        let run_folder = folder.path().join(wanted.to_string());
        let changes = json!({"log": {"tensorboard": wanted, "expert_load_every": 4}});
        run_until(&mut trainer(&top_1(), recipe(&changes), &run_folder), 7, Resume::Never);
        run(&mut trainer(&top_1(), recipe(&changes), &run_folder), Resume::Auto).unwrap();
        let files = std::fs::read_dir(run_folder.join("tensorboard")).map_or(0, Iterator::count);
        assert_eq!(files, if wanted { 2 } else { 0 }, "one file a process");
    }
}
