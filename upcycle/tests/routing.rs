//! What training does to routers and says of experts: bias, capacity, adaptive coefficients, noise, levels of balance, similarity.

mod tiny;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use coppice_models::MoeConfig;
use coppice_models::config::{Config, Gate};
use coppice_models::model::FeedForward;
use coppice_models::moe::Moe;
use coppice_models::{Checkpoint, Model};
use coppice_upcycle::train::balancing::move_bias;
use coppice_upcycle::train::experts::similarity;
use coppice_upcycle::train::metrics::{ExpertLoad, Line, StepMetrics};
use coppice_upcycle::train::{Evaluation, Event, Resume, Trainer};
use serde_json::{Value, json};
use tch::{Kind, Tensor};
use tiny::{STEPS, biased, bits, config, metrics, model, noise, recipe, run, step_lines, tokens, top_1, trainer};

/// Assignments of a step of four sequences of 16 tokens, two experts each.
const ASSIGNMENTS: f64 = 128.0;

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

/// Runs a recipe with the loads of every step in the log.
fn trained(config: &Config, changes: &Value, folder: &Path) -> (Trainer, Vec<StepMetrics>) {
    let mut changes = changes.clone();
    let whole = json!({"micro_batch_size": 0, "log": {"expert_load_every": 1, "expert_similarity_every": 5}});
    for (key, value) in whole.as_object().unwrap() {
        changes.as_object_mut().unwrap().entry(key).or_insert(value.clone());
    }
    let mut trainer = trainer(config, recipe(&changes), folder);
    run(&mut trainer, Resume::Never).unwrap();
    (trainer, step_lines(folder))
}

fn loads(line: &StepMetrics) -> &[ExpertLoad] {
    line.expert_load.as_deref().unwrap()
}

fn moe(model: &Model, layer: usize) -> &Moe {
    let FeedForward::Moe(moe) = &model.layers[layer].mlp else { panic!("layer {layer} is dense") };
    moe
}

fn bias(model: &Model, layer: usize) -> Vec<f64> {
    Vec::try_from(moe(model, layer).router.bias.as_ref().unwrap().to_kind(Kind::Double)).unwrap()
}

#[test]
fn a_bias_moves_towards_even_loads() {
    let bias = Tensor::from_slice(&[0.0_f32, 0.5, -0.25, 0.0]);
    for (loads, expected) in [([4_i64, 0, 2, 2], [-0.125, 0.625, -0.25, 0.0]), ([1, 3, 3, 1], [0.0, 0.5, -0.375, 0.125])] {
        move_bias(&bias, &Tensor::from_slice(&loads), 0.125).unwrap();
        assert_eq!(Vec::<f64>::try_from(bias.to_kind(Kind::Double)).unwrap(), expected);
    }
}

#[test]
fn biases_follow_the_loads_of_all_micro_batches_and_are_exported() {
    let folder = tempfile::tempdir().unwrap();
    let changes = json!({"steps": 2, "schedule": {"peak": 1e-2}, "micro_batch_size": 3, "routing": {"bias_update_rate": 0.01}});
    let (trainer, lines) = trained(&biased(), &changes, folder.path());
    assert!(trainer.optimizer().parameters().all(|parameter| !parameter.name.contains("correction")));
    let exported = Model::load(&Checkpoint::open(folder.path().join("model")).unwrap(), Kind::Float, tch::Device::Cpu).unwrap();
    for layer in 0..2 {
        let moved = |expert: usize| lines.iter().map(|line| 0.01 * sign(0.25 - loads(line)[layer].share[expert])).sum::<f64>();
        for model in [trainer.model(), &exported] {
            bias(model, layer).into_iter().enumerate().for_each(|(expert, found)| assert!((found - moved(expert)).abs() < 1e-7));
        }
    }
}

fn sign(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

/// Nothing learns but the biases; the first two experts begin with everything.
#[test]
fn biases_even_out_a_skewed_router() {
    let folder = tempfile::tempdir().unwrap();
    let skewed = model(&biased());
    tch::no_grad(|| {
        for layer in 0..2 {
            let norm = skewed.layers[layer].post_attention_layernorm.as_ref().unwrap();
            let _ = norm.bias.as_ref().unwrap().shallow_clone().fill_(0.5);
            let _ = moe(&skewed, layer).router.weight.narrow(0, 0, 2).g_add_scalar_(0.1);
        }
    });
    let losses = json!({"balance_coefficient": 0.0, "z_coefficient": 0.0});
    let changes = json!({"steps": 60, "schedule": {"peak": 0.0}, "losses": losses, "routing": {"bias_update_rate": 0.01},
        "log": {"expert_load_every": 1}, "checkpoints": {}});
    let mut trainer = Trainer::new(skewed, recipe(&changes), tokens(1, 700), None, folder.path()).unwrap();
    run(&mut trainer, Resume::Never).unwrap();
    let lines = step_lines(folder.path());
    for layer in 0..2 {
        let share = |expert: usize, steps: &[StepMetrics]| -> f64 {
            steps.iter().map(|line| loads(line)[layer].share[expert]).sum::<f64>() / steps.len() as f64
        };
        assert!(share(0, &lines[..5]) + share(1, &lines[..5]) > 0.95, "{:?}", loads(&lines[0]));
        for expert in 0..4 {
            let last = share(expert, &lines[40..]);
            assert!((0.2..0.3).contains(&last), "layer {layer}, expert {expert}: {last}");
        }
    }
}

/// What does not fit into `room` of the assignments of a layer, as a share of them.
fn beyond(load: &ExpertLoad, room: f64) -> f64 {
    load.share.iter().map(|share| (share * ASSIGNMENTS - room).max(0.0)).sum::<f64>() / ASSIGNMENTS
}

#[test]
fn capacity_drops_what_has_no_room() {
    for drop in ["probs", "position"] {
        let folder = tempfile::tempdir().unwrap();
        let changes = json!({"routing": {"capacity": {"factor": 0.8, "drop": drop}}});
        let (_, lines) = trained(&config(64, Some((2, Gate::TopkSoftmax))), &changes, folder.path());
        for load in lines.iter().flat_map(loads) {
            near(load.drop_rate.unwrap(), beyond(load, 26.0)); // ceil(0.8 * 128 / 4)
            assert!(load.drop_rate.unwrap() > 0.18, "{load:?}"); // at least 128 - 4 * 26 of 128
        }
    }
}

#[test]
fn capacity_changes_training_and_not_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(64, Some((2, Gate::TopkSoftmax)));
    let run = |name: &str, changes: Value| {
        let _trained = trained(&config, &changes, &folder.path().join(name));
        metrics(&folder.path().join(name))
    };
    let still = json!({"peak": 0.0}); // the weights stay what they are
    let dropless = run("dropless", json!({"schedule": still}));
    let tight = run("tight", json!({"schedule": still, "routing": {"capacity": {"factor": 0.5}}}));
    let losses =
        |lines: &[Line]| lines.iter().filter_map(|line| if let Line::Step(step) = line { Some(step.loss) } else { None }).collect();
    let validations = |lines: &[Line]| -> Vec<Evaluation> {
        lines.iter().filter_map(|line| if let Line::Validation(found) = line { Some(found.validation) } else { None }).collect()
    };
    let losses: [Vec<f64>; 2] = [losses(&dropless), losses(&tight)];
    assert_ne!(losses[0], losses[1]);
    assert!(!validations(&dropless).is_empty());
    assert_eq!(validations(&dropless), validations(&tight));
}

#[test]
fn adaptive_coefficients_follow_each_layers_overflow() {
    for (capacity, room) in [(Value::Null, 32.0), (json!({"factor": 0.9}), 29.0)] {
        let folder = tempfile::tempdir().unwrap();
        let adaptive = json!({"xi": 0.5, "alpha_max": 0.1, "beta": 0.75});
        let changes = json!({"losses": {"balance_coefficient": 0.03, "adaptive": adaptive}, "routing": {"capacity": capacity}});
        let (_, lines) = trained(&biased(), &changes, folder.path());
        let mut expected = [0.03; 2];
        for line in &lines {
            let found = line.balance_coefficient_per_layer.as_ref().unwrap();
            found.iter().zip(expected).for_each(|(found, expected)| near(*found, expected));
            for (alpha, load) in expected.iter_mut().zip(loads(line)) {
                *alpha = 0.75 * *alpha + 0.25 * (0.5 * beyond(load, room)).min(0.1);
            }
        }
        assert!(expected[0] != expected[1], "layers of their own: {expected:?}");
    }
}

#[test]
fn noise_follows_from_the_seed_alone() {
    let _alone = noise();
    let folder = tempfile::tempdir().unwrap();
    let losses = |name: &str, jitter: f64, state: i64| {
        tch::manual_seed(state); // whatever was drawn before
        let changes = json!({"routing": {"jitter": jitter}, "micro_batch_size": 2});
        trained(&top_1(), &changes, &folder.path().join(name)).1.iter().map(|line| line.loss).collect::<Vec<_>>()
    };
    let (one, same, none) = (losses("one", 0.3, 1), losses("same", 0.3, 2), losses("none", 0.0, 3));
    assert_eq!(one, same);
    assert_ne!(one, none);
}

#[test]
fn the_global_level_is_the_micro_batch_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let ends = |name: &str, level: &str, size: u64| {
        let changes = json!({"micro_batch_size": size, "losses": {"balance_level": level}});
        let (trainer, lines) = trained(&biased(), &changes, &folder.path().join(name));
        (bits(&trainer), lines.iter().map(|line| line.balance_per_layer.clone().unwrap()).collect::<Vec<_>>())
    };
    assert!(ends("global", "global_batch", 0) == ends("micro", "micro_batch", 0), "bit by bit");
    let (parts, global) = (ends("parts", "micro_batch", 1).1, ends("global parts", "global_batch", 1).1);
    assert_ne!(parts, global);
    let sum = |losses: &[Vec<f64>]| losses.iter().flatten().sum::<f64>();
    assert!(sum(&global) < sum(&parts), "loads are more even over more tokens");
    // A micro-batch of one sequence: its level is the sequence's.
    let sequences = ends("sequences", "sequence", 0).1;
    parts[0].iter().zip(&sequences[0]).for_each(|(part, sequence)| assert!((part - sequence).abs() < 1e-5, "{part} {sequence}"));
}

#[test]
fn the_log_tells_what_became_of_the_experts() {
    let folder = tempfile::tempdir().unwrap();
    let (trainer, lines) = trained(&biased(), &json!({}), folder.path());
    for line in &lines {
        let [losses, z] = [&line.balance_per_layer, &line.z_per_layer].map(|layers| layers.as_ref().unwrap());
        near(line.balance.unwrap(), (losses[0] + losses[1]) / 2.0);
        near(line.z.unwrap(), (z[0] + z[1]) / 2.0);
        assert!(line.balance_coefficient_per_layer.is_none());
        for load in loads(line) {
            near(load.load_entropy.unwrap(), -load.share.iter().map(|s| if *s > 0.0 { s * s.ln() } else { 0.0 }).sum::<f64>());
            assert_eq!((load.dead, load.drop_rate), (Some(load.share.iter().filter(|s| **s == 0.0).count()), Some(0.0)));
            assert_eq!(load.similarity.is_some(), [1, 5, 10, STEPS].contains(&line.step));
        }
    }
    // The last line is about the weights that are exported.
    assert_eq!(loads(&lines[11])[1].similarity, similarity(moe(trainer.model(), 1), &moe_config(), 1).unwrap());
}

/// Experts that came from no permuted ones.
fn moe_config() -> MoeConfig {
    MoeConfig::default()
}

#[test]
fn similarity_is_the_mean_cosine_of_the_pairs() {
    let model = model(&biased());
    let experts = moe(&model, 0);
    let matrices = [&experts.gate_proj, &experts.up_proj, &experts.down_proj];
    let vector = |e: i64| -> Vec<f64> { matrices.iter().flat_map(|m| Vec::<f64>::try_from(m.get(e).flatten(0, -1)).unwrap()).collect() };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let vectors: Vec<_> = (0..4).map(vector).collect();
    let pairs = (0..4).flat_map(|a| (0..a).map(move |b| (a, b)));
    let cosines: Vec<f64> = pairs
        .map(|(a, b)| {
            let (a, b) = (&vectors[a], &vectors[b]);
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        })
        .collect();
    let expected = cosines.iter().sum::<f64>() / 6.0;
    assert!((similarity(experts, &moe_config(), 0).unwrap().unwrap() - expected).abs() < 1e-6);
    for matrix in matrices {
        tch::no_grad(|| matrix.shallow_clone().copy_(&matrix.narrow(0, 0, 1).expand_as(matrix).copy()));
    }
    assert!((similarity(experts, &moe_config(), 0).unwrap().unwrap() - 1.0).abs() < 1e-6);
}

/// What a run says before its first step.
fn told(config: &Config, changes: &Value) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let (mut notes, mut steps) = (Vec::new(), 0);
    let mut watch = |event: &Event| match event {
        Event::Note { text } => {
            assert_eq!(steps, 0, "before the first step");
            notes.push((*text).to_owned());
        }
        Event::Step(_) => steps += 1,
        _ => {}
    };
    trainer(config, recipe(changes), folder.path()).run(Resume::Never, &mut watch, &AtomicBool::new(false)).unwrap();
    notes
}

#[test]
fn a_run_says_once_what_its_routers_do_not_learn_from() {
    assert!(told(&config(64, None), &json!({})).is_empty());
    assert!(told(&top_1(), &json!({})).is_empty());
    let constant = told(&config(64, Some((1, Gate::TopkSoftmax))), &json!({}));
    assert!(constant.len() == 1 && constant[0].contains("no gradient") && constant[0].contains("softmax_topk_st"), "{constant:?}");
    let off = told(&top_1(), &json!({"losses": {"balance_coefficient": 0.0}}));
    assert!(off.len() == 1 && off[0].contains("balance loss is off"), "{off:?}");
}

#[test]
fn expert_choice_trains_without_a_balance_loss() {
    let config = config(64, Some((2, Gate::ExpertChoiceRenorm)));
    let notes = told(&config, &json!({}));
    assert!(notes.len() == 1 && notes[0].contains("no balance loss"), "{notes:?}");
    let folder = tempfile::tempdir().unwrap();
    let (_, lines) = trained(&config, &json!({}), folder.path());
    assert!(lines.iter().all(|line| line.balance.is_none() && line.z.unwrap() > 0.0 && line.router_grad_norm.unwrap() > 0.0));
    assert!(lines.iter().flat_map(loads).all(|load| load.share == [0.25; 4] && load.dead == Some(0)));
}

#[test]
fn settings_that_mean_nothing_are_refused_by_name() {
    for (changes, named) in [
        (json!({"routing": {"jitter": 1.0}}), "routing.jitter is 1"),
        (json!({"routing": {"capacity": {"factor": 0.0}}}), "routing.capacity.factor is 0"),
        (json!({"routing": {"bias_update_rate": -1.0}}), "routing.bias_update_rate is -1"),
        (json!({"losses": {"adaptive": {"beta": 1.0}}}), "losses.adaptive.beta is 1"),
        (json!({"losses": {"z_coefficient": -1.0}}), "losses.z_coefficient is -1"),
    ] {
        let told = recipe(&changes).check().unwrap_err().to_string();
        assert!(told.contains(named), "{told}");
    }
}
