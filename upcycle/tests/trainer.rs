//! Whole training runs of tiny models: learning, accumulation, resuming bit by bit, and everything that must stop a run.

mod tiny;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use coppice_models::config::Gate;
use coppice_models::init::{stream, unit};
use coppice_models::model::Memory;
use coppice_models::state::Parameter;
use coppice_models::{Checkpoint, Model};
use coppice_upcycle::train::metrics::Line;
use coppice_upcycle::train::trainer::load_for_training;
use coppice_upcycle::train::{
    Cut, Event, Outcome, Precision, Resume, TokenStream, TrainConfig, TrainError, Trainer, checkpoint, evaluate_loss,
};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tiny::{STEPS, biased, bits, config, everything, metrics, model, noise, recipe, run, step_lines, tokens, top_1, trainer};

/// Runs until step `last` is done, then asks for an interruption.
fn run_until(trainer: &mut Trainer, last: u64, resume: Resume) -> Outcome {
    let stop = AtomicBool::new(false);
    let mut watch = |event: &Event| {
        if let Event::Step(progress) = event {
            stop.store(progress.step == last, Ordering::Relaxed);
        }
    };
    trainer.run(resume, &mut watch, &stop).unwrap()
}

#[test]
fn an_interrupted_run_resumes_bit_by_bit() {
    let _alone = noise();
    for (config, changes) in [(config(64, None), json!({})), (top_1(), json!({})), (biased(), everything())] {
        let (straight, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut whole = trainer(&config, recipe(&changes), straight.path());
        run(&mut whole, Resume::Never).unwrap();
        let mut first = trainer(&config, recipe(&changes), stopped.path());
        let outcome = run_until(&mut first, 7, Resume::Auto);
        let checkpoint = stopped.path().join("checkpoints/step-00000007");
        assert_eq!(outcome, Outcome::Interrupted { step: 7, checkpoint });
        assert!(!stopped.path().join("model").exists());
        let mut second = trainer(&config, recipe(&changes), stopped.path());
        run(&mut second, Resume::Auto).unwrap();
        assert!(bits(&second) == bits(&whole), "second and whole differ");
        assert_eq!(metrics(stopped.path()), metrics(straight.path()));
        assert_eq!(step_lines(stopped.path()).iter().map(|line| line.step).collect::<Vec<_>>(), (1..=STEPS).collect::<Vec<_>>());
    }
}

#[test]
fn a_run_with_everything_on_uses_all_of_it() {
    let _alone = noise();
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(&biased(), recipe(&everything()), folder.path());
    run(&mut trainer, Resume::Never).unwrap();
    let lines = step_lines(folder.path());
    let loads = lines.iter().filter_map(|line| line.expert_load.as_ref()).flatten();
    assert!(loads.filter_map(|load| load.drop_rate).all(|rate| rate > 0.0));
    let coefficients: Vec<_> = lines.iter().map(|line| line.balance_coefficient_per_layer.clone().unwrap()).collect();
    assert!(coefficients.windows(2).all(|pair| pair[0].iter().zip(&pair[1]).all(|(before, after)| before != after)), "{coefficients:?}");
    let moved =
        |parameter: &&Parameter| parameter.name.ends_with("e_score_correction_bias") && parameter.tensor.norm().double_value(&[]) > 0.0;
    assert_eq!(trainer.model().parameters().iter().filter(moved).count(), 2);
}

/// Not a test of its own: the process that [`a_killed_run_resumes_bit_by_bit`] starts, which dies in the middle of its run.
#[test]
fn dies_when_told_to() {
    let (Ok(folder), Ok(step)) = (std::env::var("COPPICE_TEST_FOLDER"), std::env::var("COPPICE_TEST_STEP")) else { return };
    let step: u64 = step.parse().unwrap();
    let mut watch = |event: &Event| {
        if matches!(event, Event::Step(progress) if progress.step == step) {
            std::process::abort();
        }
    };
    trainer(&biased(), recipe(&everything()), Path::new(&folder)).run(Resume::Auto, &mut watch, &AtomicBool::new(false)).unwrap();
}

#[test]
fn a_killed_run_resumes_bit_by_bit() {
    let _alone = noise();
    let (straight, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut whole = trainer(&biased(), recipe(&everything()), straight.path());
    run(&mut whole, Resume::Never).unwrap();
    let mut rng = stream(u64::from(std::process::id()), "a random step");
    for earliest in [2, 7] {
        let step = earliest + (unit(&mut rng) * 5.0) as u64 % 5;
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "dies_when_told_to"])
            .env("COPPICE_TEST_FOLDER", killed.path())
            .env("COPPICE_TEST_STEP", step.to_string())
            .output()
            .unwrap();
        assert!(child.status.signal().is_some(), "step {step}: {child:?}");
    }
    let mut resumed = trainer(&biased(), recipe(&everything()), killed.path());
    run(&mut resumed, Resume::Auto).unwrap();
    assert!(bits(&resumed) == bits(&whole), "resumed and whole differ");
    assert_eq!(metrics(killed.path()), metrics(straight.path()));
}

#[test]
fn a_damaged_checkpoint_is_named_and_skipped() {
    let (straight, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut whole = trainer(&top_1(), recipe(&json!({})), straight.path());
    run(&mut whole, Resume::Never).unwrap();
    run_until(&mut trainer(&top_1(), recipe(&json!({})), folder.path()), 9, Resume::Never);
    let checkpoints = folder.path().join("checkpoints");
    let names = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(
        checkpoint::list(&checkpoints).unwrap().iter().map(|p| names(p)).collect::<Vec<_>>(),
        ["step-00000006", "step-00000008", "step-00000009"]
    );
    let weights = checkpoints.join("step-00000009/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&weights, bytes).unwrap();
    std::fs::remove_file(checkpoints.join("step-00000008/manifest.json")).unwrap();
    std::fs::create_dir(checkpoints.join(".step-00000011.tmp")).unwrap();
    let mut seen = Vec::new();
    let mut watch = |event: &Event| match event {
        Event::Skipped { path, reason } => seen.push(format!("{} {}", names(path), reason.contains("damaged"))),
        Event::Resumed { step, .. } => seen.push(format!("resumed {step}")),
        _ => {}
    };
    let mut resumed = trainer(&top_1(), recipe(&json!({})), folder.path());
    resumed.run(Resume::Auto, &mut watch, &AtomicBool::new(false)).unwrap();
    assert_eq!(seen, ["step-00000009 true", "step-00000008 false", "resumed 6"]);
    assert!(bits(&resumed) == bits(&whole), "resumed and whole differ");
    assert_eq!(metrics(folder.path()), metrics(straight.path()));
    assert!(!checkpoints.join(".step-00000011.tmp").exists());
}

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

#[test]
fn the_export_is_the_model_and_brings_the_tokenizer() {
    let (folder, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(source.path().join("tokenizer.json"), "{}").unwrap();
    let mut trainer = trainer(&top_1(), recipe(&json!({})), folder.path()).with_tokenizer_of(source.path());
    let Outcome::Finished { model: exported, validation: Some(validation) } = run(&mut trainer, Resume::Never).unwrap() else { panic!() };
    assert!(exported.join("tokenizer.json").exists());
    let checkpoint = Checkpoint::open(&exported).unwrap();
    assert_eq!(checkpoint.config, top_1());
    let loaded = Model::load(&checkpoint, Kind::Float, Device::Cpu).unwrap();
    let cut = Cut { sequence_length: 16, batch: 3, max_tokens: 0, reset_at_documents: true };
    let found = evaluate_loss(&loaded, &tokens(2, 100), cut).unwrap();
    assert_eq!(found, validation);
    assert_eq!(found.tokens, 96);
    assert!(matches!(metrics(folder.path()).last(), Some(Line::Validation(line)) if line.validation == found && line.step == STEPS));
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

#[test]
fn micro_batches_do_not_change_the_mean() {
    // A dense model: the balance loss is defined over a micro-batch.
    let folder = tempfile::tempdir().unwrap();
    let losses = [1, 3, 4].map(|size| {
        let folder = folder.path().join(size.to_string());
        run(&mut trainer(&config(64, None), recipe(&json!({"micro_batch_size": size})), &folder), Resume::Never).unwrap();
        step_lines(&folder).iter().map(|line| [line.loss, line.grad_norm]).collect::<Vec<_>>()
    });
    for other in &losses[1..] {
        for (one, other) in losses[0].iter().flatten().zip(other.iter().flatten()) {
            assert!((one - other).abs() < 1e-4 * one.abs(), "{one} {other}");
        }
    }
}

/// One plain pass over `ids [b, S + 1]`: whole logits, libtorch's cross entropy, router losses written out; loss and objective.
fn plain(model: &Model, ids: &Tensor, [balance, z]: [f64; 2]) -> (Tensor, Tensor) {
    let mut pass = model.pass(16, Memory::None).unwrap();
    pass.routings = Some(Vec::new());
    let hidden = model.hidden(&ids.narrow(1, 0, 16).contiguous(), &mut pass).unwrap();
    let loss = model.logits(&hidden).unwrap().flatten(0, 1).cross_entropy_for_logits(&ids.narrow(1, 1, 16).flatten(0, 1));
    let objective = pass.routings.unwrap().iter().fold(loss.shallow_clone(), |sum, routing| {
        let share = &routing.counts / routing.counts.sum(Kind::Int64);
        let mean = routing.logits.softmax(-1, Kind::Float).mean_dim([0].as_slice(), false, Kind::Float);
        sum + (share * mean).sum(Kind::Float) * 4.0 * balance
            + routing.logits.logsumexp([-1].as_slice(), false).square().mean(Kind::Float) * z
    });
    (loss, objective)
}

#[test]
fn the_first_loss_and_gradient_are_autograds_own() {
    for (config, coefficients) in
        [(config(64, None), [0.5, 0.5]), (config(64, Some((2, Gate::TopkSoftmax))), [0.3, 0.2]), (top_1(), [0.0, 0.0])]
    {
        let folder = tempfile::tempdir().unwrap();
        let losses = json!({"balance_coefficient": coefficients[0], "z_coefficient": coefficients[1]});
        let changes = json!({"order": "sequential", "losses": losses, "micro_batch_size": 4});
        run(&mut trainer(&config, recipe(&changes), folder.path()), Resume::Never).unwrap();
        let model = model(&config);
        let mut parameters = model.parameters();
        parameters.iter_mut().for_each(|p| drop(p.tensor.requires_grad_(true)));
        let ids: Vec<i64> = (0..4).flat_map(|b| tokens(1, 700).ids()[b * 16..b * 16 + 17].to_vec()).map(i64::from).collect();
        let (loss, objective) = plain(&model, &Tensor::from_slice(&ids).view([4, 17]), coefficients);
        objective.backward();
        let norm = |p: &Parameter| p.tensor.grad().square().sum(Kind::Double).double_value(&[]);
        let whole = parameters.iter().map(norm).sum::<f64>().sqrt();
        let routers = parameters.iter().filter(|p| p.name.ends_with("mlp.gate.weight")).map(norm).sum::<f64>().sqrt();
        let first = &step_lines(folder.path())[0];
        assert!((first.loss - loss.double_value(&[])).abs() < 1e-5, "{} {loss:?}", first.loss);
        assert!((first.grad_norm - whole).abs() < 1e-5 * whole, "{} {whole}", first.grad_norm);
        assert!((first.router_grad_norm.unwrap_or(0.0) - routers).abs() <= 1e-4 * routers, "{:?} {routers}", first.router_grad_norm);
    }
}

#[test]
fn the_log_holds_router_norms_and_loads() {
    let folder = tempfile::tempdir().unwrap();
    run(&mut trainer(&top_1(), recipe(&json!({})), folder.path()), Resume::Never).unwrap();
    let lines = step_lines(folder.path());
    assert!(lines.iter().all(|line| line.router_grad_norm.unwrap() > 0.0 && line.balance.unwrap() > 0.5 && line.z.unwrap() > 0.0));
    assert!(lines.iter().all(|line| line.expert_load.is_some() == (line.step == 1 || line.step.is_multiple_of(4))));
    let load = &lines[0].expert_load.as_ref().unwrap()[0];
    assert_eq!((load.layer, load.share.len()), (1, 4));
    assert!((load.share.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    // Mixtral's order at top-1 gives the constant weight 1: without a balance loss its router gets no gradient at all.
    let folder = tempfile::tempdir().unwrap();
    let config = config(64, Some((1, Gate::TopkSoftmax)));
    run(
        &mut trainer(&config, recipe(&json!({"losses": {"balance_coefficient": 0.0, "z_coefficient": 0.0}})), folder.path()),
        Resume::Never,
    )
    .unwrap();
    assert!(step_lines(folder.path()).iter().all(|line| line.router_grad_norm == Some(0.0)));
}

#[test]
fn a_finished_run_is_not_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = trainer(&config(64, None), recipe(&json!({})), folder.path());
    let outcome = run(&mut first, Resume::Never).unwrap();
    let mut second = trainer(&config(64, None), recipe(&json!({})), folder.path());
    assert!(matches!(run(&mut second, Resume::Never), Err(TrainError::Occupied(_))));
    assert_eq!(run(&mut second, Resume::Auto).unwrap(), outcome);
    assert!(bits(&second) == bits(&first), "second and first differ");
    assert_eq!(step_lines(folder.path()).len(), STEPS as usize);
}

#[test]
fn another_recipe_or_other_tokens_do_not_resume() {
    let folder = tempfile::tempdir().unwrap();
    run_until(&mut trainer(&config(64, None), recipe(&json!({})), folder.path()), 5, Resume::Never);
    let mut other = trainer(&config(64, None), recipe(&json!({"seed": 4, "steps": 20})), folder.path());
    let sentence = run(&mut other, Resume::Auto).unwrap_err().to_string();
    assert!(
        sentence.ends_with(
            "was made by another run: seed is 4 here, 3 there; steps is 20 here, 12 there (--accept-changes goes on all the same)"
        ),
        "{sentence}"
    );
    let mut other = Trainer::new(model(&config(64, None)), recipe(&json!({})), tokens(5, 700), None, folder.path()).unwrap();
    assert!(run(&mut other, Resume::Auto).unwrap_err().to_string().contains("the training tokens are others"));
    let mut other = trainer(&top_1(), recipe(&json!({})), folder.path());
    assert!(run(&mut other, Resume::Auto).unwrap_err().to_string().contains("another model"));
    // Accepted changes are said.
    let mut told = Vec::new();
    let mut tell = |event: &Event| told.extend(if let Event::Note { text } = event { Some((*text).to_owned()) } else { None });
    let longer = trainer(&config(64, None), recipe(&json!({"steps": 7})), folder.path());
    longer.accepting_changes(true).run(Resume::Auto, &mut tell, &AtomicBool::new(false)).unwrap();
    assert!(told.iter().any(|text| text.ends_with("steps is 7 here, 12 there")), "{told:?}");
    for step in [6, 7] {
        std::fs::remove_dir_all(folder.path().join(format!("checkpoints/step-{step:08}"))).unwrap();
    }
    // What does not decide the weights may change.
    let changed = recipe(&json!({"checkpoints": {"every_steps": 4, "keep_last": 1}, "log": {"expert_load_every": 1}}));
    run(&mut trainer(&config(64, None), changed, folder.path()), Resume::Auto).unwrap();
    assert_eq!(checkpoint::list(&folder.path().join("checkpoints")).unwrap().len(), 1);
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_names_the_last_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(&config(64, None), recipe(&json!({"checkpoints": {"every_steps": 1}})), folder.path());
    let mut weights = trainer.model().norm.weight.shallow_clone();
    let mut poison = |event: &Event| {
        if matches!(event, Event::Step(progress) if progress.step == 5) {
            tch::no_grad(|| drop(weights.fill_(f64::NAN)));
        }
    };
    let error = trainer.run(Resume::Never, &mut poison, &AtomicBool::new(false)).unwrap_err();
    // The weights after step 5 were saved before their loss was known: they are not good.
    let TrainError::NonFinite { step: 5, checkpoint: Some(path), .. } = &error else { panic!("{error}") };
    assert_eq!(checkpoint::verify(path).unwrap().step, 4);
    assert!(error.to_string().contains("the last good checkpoint is"), "{error}");
    assert!(!folder.path().join("model").exists());
}

#[test]
fn a_diverged_run_without_a_good_checkpoint_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let explosive = json!({"schedule": {"peak": 1e30}, "validation": {"every_steps": 1}});
    let error = run(&mut trainer(&config(64, None), recipe(&explosive), folder.path()), Resume::Never).unwrap_err();
    assert!(matches!(error, TrainError::NonFinite { step: 1, checkpoint: None, .. }), "{error}");
    assert!(error.to_string().contains("there is no good checkpoint"), "{error}");
}

#[test]
fn what_cannot_be_trained_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let refuse = |changes: &Value, stream: TokenStream| {
        let error = Trainer::new(model(&config(64, None)), recipe(changes), stream, None, &run).unwrap_err().to_string();
        assert!(!run.exists());
        error
    };
    assert!(refuse(&json!({}), TokenStream::new(vec![64; 100])).contains("id 64 at position 0"));
    assert!(refuse(&json!({}), tokens(1, 10)).contains("10 tokens make 0 sequences"));
    assert!(refuse(&json!({"sequence_length": 65}), tokens(1, 700)).contains("context holds 64"));
    assert!(refuse(&json!({"steps": 0}), tokens(1, 700)).contains("steps is 0"));
    assert!(refuse(&json!({"optimizer": {"betas": [0.9, 1.0]}}), tokens(1, 700)).contains("optimizer.betas"));
    let unknown = toml::from_str::<TrainConfig>("steps = 1\nsequence_length = 2\nbatch_size = 1\nstep = 3\n[schedule]\npeak = 1e-3\n");
    assert!(unknown.unwrap_err().to_string().contains("unknown field `step`"));
    // A model over a mapped file cannot be written to.
    let mut small = trainer(&config(64, None), recipe(&json!({"steps": 3})), &run);
    small.run(Resume::Never, &mut |_| {}, &AtomicBool::new(false)).unwrap();
    let checkpoint = Checkpoint::open(run.join("model")).unwrap();
    let mapped = Model::load(&checkpoint, Kind::Float, Device::Cpu).unwrap();
    let error = Trainer::new(mapped, recipe(&json!({})), tokens(1, 700), None, folder.path().join("other")).unwrap_err();
    assert!(error.to_string().contains("owns weights of Float"));
    let owned = load_for_training(&checkpoint, Precision::F32, Device::Cpu).unwrap();
    assert!(Trainer::new(owned, recipe(&json!({})), tokens(1, 700), None, folder.path().join("other")).is_ok());
}

/// The bytes of the shared Shakespeare text, or none where the shared data is not there.
fn shakespeare() -> Option<TokenStream> {
    let data = std::env::var_os("COPPICE_DATA").map_or(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), Into::into);
    let path = data.join("corpus/small/tinyshakespeare.txt.zst");
    let Ok(file) = std::fs::File::open(&path) else {
        eprintln!("SKIPPED: {} is not there (set COPPICE_DATA)", path.display());
        return None;
    };
    let bytes = zstd::decode_all(file).unwrap();
    Some(TokenStream::new(bytes.into_iter().map(u32::from).collect::<Vec<_>>()))
}

#[test]
fn text_is_learned() {
    let Some(text) = shakespeare() else { return };
    let (train, valid) = text.ids().split_at(text.ids().len() - 20_000);
    let changes = json!({
        "steps": 200, "sequence_length": 64, "batch_size": 8, "micro_batch_size": 0, "validation": {"every_steps": 60, "max_tokens": 4000},
        "checkpoints": {}, "schedule": {"peak": 5e-3, "warmup_steps": 10},
    });
    for config in [config(256, None), config(256, Some((1, Gate::SoftmaxTopkSt))), config(256, Some((2, Gate::TopkSoftmax)))] {
        let folder = tempfile::tempdir().unwrap();
        let (train, valid) = (TokenStream::new(train), TokenStream::new(valid));
        let mut trainer = Trainer::new(model(&config), recipe(&changes), train, Some(valid), folder.path()).unwrap();
        let Outcome::Finished { validation: Some(validation), .. } = run(&mut trainer, Resume::Never).unwrap() else { panic!() };
        let lines = step_lines(folder.path());
        // Untrained: ln 256 = 5.5. Letter frequencies alone leave 3.3 nats a byte.
        assert!(lines[0].loss > 5.0 && validation.loss < 2.9, "{} {validation:?}", lines[0].loss);
        assert_eq!(metrics(folder.path()).len(), 204);
    }
}
