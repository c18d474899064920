//! What saves memory: activations computed twice change no bit, bf16 stays near f32, and its state is saved and resumed.

mod tiny;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use coppice_models::Checkpoint;
use coppice_models::Model;
use coppice_models::config::Config;
use coppice_models::init::{Cast, Random};
use coppice_upcycle::train::trainer::load_for_training;
use coppice_upcycle::train::{Event, Precision, Resume, TrainConfig, Trainer, checkpoint};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tiny::{STEPS, biased, bits, config, everything, noise, recipe, run, step_lines, tokens, top_1, trainer};

/// A tiny model in the precision of a recipe, and its trainer.
fn precise(config: &Config, recipe: TrainConfig, folder: &Path) -> Trainer {
    let random = Random { config, seed: 7, std: 0.05, device: Device::Cpu };
    let model = Model::new(&Cast { source: &random, kind: recipe.precision.parameters() }, config, Device::Cpu).unwrap();
    Trainer::new(model, recipe, tokens(1, 700), Some(tokens(2, 100)), folder).unwrap()
}

#[test]
fn activations_computed_again_change_no_bit() {
    let _alone = noise();
    for (config, changes) in [(config(64, None), json!({})), (top_1(), json!({})), (biased(), everything())] {
        let trained = |recompute: &str| {
            let folder = tempfile::tempdir().unwrap();
            let recipe = TrainConfig { recompute: recompute.parse().unwrap(), ..recipe(&changes) };
            let mut trainer = trainer(&config, recipe, folder.path());
            run(&mut trainer, Resume::Never).unwrap();
            (bits(&trainer), step_lines(folder.path()))
        };
        let kept = trained("none");
        assert!(trained("all") == kept && trained("last:1") == kept);
    }
}

fn changes(precision: &str) -> Value {
    json!({"precision": precision, "schedule": {"peak": 3e-3, "warmup_steps": 3}})
}

#[test]
fn bf16_stays_near_f32() {
    let losses = |precision: &str| {
        let folder = tempfile::tempdir().unwrap();
        run(&mut precise(&top_1(), recipe(&changes(precision)), folder.path()), Resume::Never).unwrap();
        step_lines(folder.path()).iter().map(|line| line.loss).collect::<Vec<_>>()
    };
    let exact = losses("f32");
    for precision in ["bf16", "bf16_master"] {
        let farthest = losses(precision).iter().zip(&exact).map(|(found, expected)| (found - expected).abs()).fold(0.0, f64::max);
        assert!(farthest > 0.0 && farthest < 0.03, "{precision}: {farthest}");
    }
}

/// The state of a trainer as bits, whatever its type.
fn state(trainer: &Trainer) -> Vec<Vec<f32>> {
    let parameters = trainer.model().parameters();
    let flat = |tensor: &Tensor| Vec::<f32>::try_from(tensor.detach().to_kind(Kind::Float).flatten(0, -1)).unwrap();
    parameters.iter().chain(trainer.optimizer().state()).map(|kept| flat(&kept.tensor)).collect()
}

#[test]
fn runs_in_bf16_resume_bit_by_bit_and_export_their_type() {
    for precision in ["bf16", "bf16_master"] {
        let (straight, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let fresh = |folder: &Path| precise(&top_1(), recipe(&changes(precision)), folder);
        let mut whole = fresh(straight.path());
        run(&mut whole, Resume::Never).unwrap();
        let stop = AtomicBool::new(false);
        let mut watch = |event: &Event| stop.store(matches!(event, Event::Step(progress) if progress.step == 7), Ordering::Relaxed);
        fresh(stopped.path()).run(Resume::Never, &mut watch, &stop).unwrap();
        let mut resumed = fresh(stopped.path());
        run(&mut resumed, Resume::Auto).unwrap();
        assert!(state(&resumed) == state(&whole), "{precision}");
        let exported = Checkpoint::open(straight.path().join("model")).unwrap();
        assert_eq!(coppice_models::checkpoint::kind_of(exported.dtype()).unwrap(), Kind::BFloat16);
    }
}

#[test]
fn a_checkpoint_of_another_precision_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    run(&mut precise(&top_1(), recipe(&changes("bf16")), folder.path()), Resume::Never).unwrap();
    let error = run(&mut precise(&top_1(), recipe(&changes("bf16_master")), folder.path()), Resume::Auto).unwrap_err();
    assert!(error.to_string().contains("precision"), "{error}");
}

#[test]
fn master_copies_come_from_the_file() {
    let (stored, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(&mut trainer(&top_1(), recipe(&json!({"steps": 3})), stored.path()), Resume::Never).unwrap();
    let checkpoint = Checkpoint::open(stored.path().join("model")).unwrap();
    let model = load_for_training(&checkpoint, Precision::Bf16Master, Device::Cpu).unwrap();
    let trainer = Trainer::new(model, recipe(&changes("bf16_master")), tokens(1, 700), None, folder.path()).unwrap();
    let trainer = trainer.with_masters_of(&checkpoint).unwrap();
    let masters = trainer.optimizer().state().filter_map(|kept| Some((kept.name.strip_prefix("master.")?.to_owned(), kept)));
    for (name, master) in masters {
        for (part, (_, value)) in master.stored().unwrap().into_iter().enumerate() {
            let exact = checkpoint.load(&name.replace("{}", &part.to_string()), Kind::Float, Device::Cpu).unwrap();
            assert_eq!(value, exact, "{name}");
        }
    }
}

#[test]
fn checkpoints_kept_for_good_survive() {
    let folder = tempfile::tempdir().unwrap();
    let changes = json!({"checkpoints": {"every_steps": 1, "keep_last": 2, "keep_every_steps": 5}});
    run(&mut trainer(&top_1(), recipe(&changes), folder.path()), Resume::Never).unwrap();
    let steps: Vec<u64> =
        checkpoint::list(&folder.path().join("checkpoints")).unwrap().iter().filter_map(|path| checkpoint::step_of(path)).collect();
    assert_eq!(steps, [5, 10, 11, STEPS]);
}

#[test]
fn the_batch_may_be_stated_in_tokens() {
    let trained = |size: Value| {
        let folder = tempfile::tempdir().unwrap();
        let mut text = serde_json::to_value(recipe(&json!({}))).unwrap();
        text.as_object_mut().unwrap().remove("batch_size");
        text.as_object_mut().unwrap().extend(size.as_object().unwrap().clone());
        let recipe: TrainConfig = serde_json::from_value(text).unwrap();
        recipe.check().map(|()| {
            let mut trainer = trainer(&top_1(), recipe, folder.path());
            run(&mut trainer, Resume::Never).unwrap();
            bits(&trainer)
        })
    };
    assert!(trained(json!({"batch_tokens": 64})).unwrap() == trained(json!({"batch_size": 4})).unwrap());
    let refused = |size| trained(size).unwrap_err().to_string();
    assert!(refused(json!({"batch_tokens": 65})).contains("multiples of sequence_length, 16"));
    assert!(refused(json!({"batch_tokens": 64, "batch_size": 4})).contains("both stated"));
    assert!(refused(json!({})).contains("batch_size is 0"));
    assert_eq!(recipe(&json!({})).precision, Precision::F32);
}
