//! Going on from DeepSpeed's state: what the optimizer gets of it, in dense models and in experts, against the values that torch wrote
//! (`tests/golden/make_deepspeed.py`).

mod conversions;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use conversions::converted;
use coppice_models::{Checkpoint, Config};
use coppice_upcycle::convert::options::Trunk;
use coppice_upcycle::convert::{Options, Sources, upcycle};
use coppice_upcycle::train::optimizer::{AdamW, Update};
use coppice_upcycle::train::recipe::OptimizerConfig;
use coppice_upcycle::train::start::{ExpertMoments, Inheritance};
use coppice_upcycle::train::trainer::load_for_training;
use coppice_upcycle::train::{Event, Precision, Resume, TokenStream, TrainConfig, Trainer};
use safetensors::tensor::{TensorView, serialize_to_file};
use safetensors::{Dtype, SafeTensors};
use serde_json::json;
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

const STEP: u64 = 7;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/deepspeed").join(name)
}

fn state() -> PathBuf {
    golden("ranks")
}

type Named = HashMap<String, Tensor>;

/// The f32 tensors of a golden file.
fn tensors(name: &str) -> Named {
    let bytes = fs::read(golden(name)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let shape = |view: &TensorView| view.shape().iter().map(|&size| size as i64).collect::<Vec<_>>();
    file.iter().map(|(name, view)| (name.to_owned(), Tensor::from_data_size(view.data(), &shape(&view), Kind::Float))).collect()
}

fn config() -> Config {
    let value = json!({"model_type": "stablelm", "vocab_size": 13, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 32, "partial_rotary_factor": 0.5, "use_qkv_bias": true});
    Config::from_json(&value).unwrap()
}

/// The checkpoint beside the state: its f32 weights rounded to bf16, and biases of zero where the state knows of none. `spoil` may change
/// the weights.
fn dense(spoil: impl Fn(&str, Tensor) -> Tensor) -> (TempDir, Checkpoint) {
    let mut weights: Named = tensors("expected.safetensors")
        .into_iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("fp32.")?.to_owned(), value)))
        .collect();
    for norm in ["input_layernorm", "post_attention_layernorm"] {
        weights.extend((0..2).map(|layer| (format!("model.layers.{layer}.{norm}.bias"), Tensor::zeros([8], (Kind::Float, Device::Cpu)))));
    }
    let bits = |value: &Tensor| Vec::<i16>::try_from(value.to_kind(Kind::BFloat16).view_dtype(Kind::Int16).reshape(-1)).unwrap();
    let stored = weights.into_iter().map(|(name, value)| {
        let value = spoil(&name, value);
        let bytes: Vec<u8> = bits(&value).into_iter().flat_map(i16::to_le_bytes).collect();
        (name, value.size().iter().map(|&size| size as usize).collect::<Vec<_>>(), bytes)
    });
    let stored: Vec<_> = stored.collect();
    let views = stored.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::BF16, shape.clone(), bytes).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
    fs::write(folder.path().join("config.json"), config().to_json("bfloat16").to_string()).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    (folder, checkpoint)
}

fn true_to_state() -> (TempDir, Checkpoint) {
    dense(|_, value| value)
}

/// A checkpoint's optimizer after it was handed the state.
fn heir(checkpoint: &Checkpoint, precision: Precision, experts: ExpertMoments) -> Result<AdamW, String> {
    let model = load_for_training(checkpoint, precision, Device::Cpu).unwrap();
    let decay = |name: &str| OptimizerConfig::default().decay_of(name);
    let mut optimizer = AdamW::new(model.parameters(), [0.9, 0.95], 1e-8, precision, decay).unwrap();
    let told = |error: coppice_upcycle::train::TrainError| error.to_string();
    Inheritance::open(state(), checkpoint, experts).map_err(told)?.hand_over(&mut optimizer).map_err(told)?;
    Ok(optimizer)
}

/// What the optimizer keeps, by its name in a file: `exp_avg.{parameter}` and so on.
fn kept(optimizer: &AdamW) -> Named {
    optimizer.state().flat_map(|parameter| parameter.stored().unwrap()).collect()
}

fn weights(optimizer: &AdamW) -> Named {
    optimizer.parameters().flat_map(|parameter| parameter.stored().unwrap()).map(|(name, value)| (name, value.detach())).collect()
}

fn zero(tensor: &Tensor) -> bool {
    tensor.count_nonzero(None::<i64>).int64_value(&[]) == 0
}

#[test]
fn dense_parameters_get_their_moments_and_weights_bit_for_bit() {
    let (_folder, checkpoint) = true_to_state();
    let expected = tensors("expected.safetensors");
    let optimizer = heir(&checkpoint, Precision::Bf16Master, ExpertMoments::Zero).unwrap();
    assert_eq!(optimizer.updates(), STEP);
    let kept = kept(&optimizer);
    for (name, value) in &expected {
        assert!(kept[&name.replace("fp32.", "master.")] == *value, "{name}");
    }
    let others = kept.iter().filter(|(name, _)| !expected.contains_key(&name.replace("master.", "fp32.")));
    assert_eq!(others.map(|(name, value)| assert!(name.contains("layernorm.bias") && zero(value), "{name}")).count(), 4 * 3);
    let weights = weights(&heir(&checkpoint, Precision::F32, ExpertMoments::Zero).unwrap());
    assert!(
        expected.iter().filter_map(|(name, value)| Some((name.strip_prefix("fp32.")?, value))).all(|(name, value)| weights[name] == *value)
    );
}

#[test]
fn one_more_step_is_the_step_of_torch() {
    let (_folder, checkpoint) = true_to_state();
    let golden = tensors("continued.safetensors");
    let mut optimizer = heir(&checkpoint, Precision::F32, ExpertMoments::Zero).unwrap();
    let gradient =
        |name: &str| golden.get(&format!("grad.{name}")).map_or_else(|| Tensor::zeros([8], (Kind::Float, Device::Cpu)), Tensor::copy);
    let gradients: Vec<Tensor> = optimizer.parameters().map(|parameter| gradient(&parameter.name)).collect();
    optimizer.update(&gradients, &Update { rate: 1e-3, grad_scale: None, found_inf: None }).unwrap();
    let weights = weights(&optimizer);
    let mut compared = 0;
    for (name, value) in golden.iter().filter_map(|(name, value)| Some((name.strip_prefix("fp32.")?, value))) {
        let farthest = (&weights[name] - value).abs().max().double_value(&[]);
        assert!(farthest <= 2.5e-7, "{name}: {farthest}");
        compared += 1;
    }
    assert_eq!((compared, optimizer.updates()), (28, STEP + 1));
}

fn options(method: &str) -> Options {
    Options { method: method.into(), experts: 4, ..Options::default() }
}

/// The three matrices of an expert, with the place of each in the dense MLP.
fn matrices() -> impl Iterator<Item = (usize, usize, &'static str)> {
    let each = |layer| (0..4).flat_map(move |expert| ["gate", "up", "down"].map(|matrix| (layer, expert, matrix)));
    (0..2).flat_map(each)
}

#[test]
fn copied_experts_get_zero_or_a_copy_and_always_the_weights() {
    let (_folder, parent) = true_to_state();
    let (_moe, checkpoint) = converted(&parent, &options("copy"));
    let expected = tensors("expected.safetensors");
    for moments in [ExpertMoments::Zero, ExpertMoments::Copy] {
        let kept = kept(&heir(&checkpoint, Precision::Bf16Master, moments).unwrap());
        for (layer, expert, matrix) in matrices() {
            let (dense, own) = (
                format!("model.layers.{layer}.mlp.{matrix}_proj.weight"),
                format!("model.layers.{layer}.mlp.experts.{expert}.{matrix}_proj.weight"),
            );
            assert!(kept[&format!("master.{own}")] == expected[&format!("fp32.{dense}")]);
            for kind in ["exp_avg", "exp_avg_sq"] {
                let (found, parent) = (&kept[&format!("{kind}.{own}")], &expected[&format!("{kind}.{dense}")]);
                assert!(if moments == ExpertMoments::Copy { found == parent } else { zero(found) }, "{kind} of {own}");
            }
        }
        assert!(zero(&kept["exp_avg.model.layers.0.mlp.gate.weight"]));
        let attention = "exp_avg_sq.model.layers.1.self_attn.k_proj.weight";
        assert!(kept[attention] == expected[attention]);
    }
}

#[test]
fn shuffled_experts_get_moments_in_the_order_of_their_units() {
    let (_folder, parent) = true_to_state();
    let (_moe, checkpoint) = converted(&parent, &options("shuffle"));
    let expected = tensors("expected.safetensors");
    let kept = kept(&heir(&checkpoint, Precision::Bf16Master, ExpertMoments::Copy).unwrap());
    for (layer, expert, matrix) in matrices() {
        // The order is read off the weights: row i of the expert's gate matrix is the row of the dense one that equals it.
        let mlp = format!("model.layers.{layer}.mlp");
        let (own, dense) =
            (&kept[&format!("master.{mlp}.experts.{expert}.gate_proj.weight")], &expected[&format!("fp32.{mlp}.gate_proj.weight")]);
        let equal = own.unsqueeze(1).eq_tensor(&dense.unsqueeze(0)).all_dim(2, false); // [F, F]
        assert_eq!(equal.sum(Kind::Int64).int64_value(&[]), 12);
        let order = equal.to_kind(Kind::Int64).argmax(1, false);
        let dim = i64::from(matrix == "down");
        for kind in ["exp_avg", "exp_avg_sq"] {
            let parent = &expected[&format!("{kind}.{mlp}.{matrix}_proj.weight")];
            assert!(kept[&format!("{kind}.{mlp}.experts.{expert}.{matrix}_proj.weight")] == parent.index_select(dim, &order));
        }
    }
}

#[test]
fn experts_that_are_no_copies_get_no_moments() {
    let (_folder, parent) = true_to_state();
    for (options, how) in [
        (options("drop"), "drawn anew"),
        (options("noise"), "added to"),
        (Options { granularity: Some(2), ..options("virtual_group") }, "part 0 of 2"),
        (options("shared_expert"), "zeros"),
    ] {
        let (_moe, checkpoint) = converted(&parent, &options);
        let told = heir(&checkpoint, Precision::F32, ExpertMoments::Copy).unwrap_err();
        assert!(told.contains(how) && told.contains(".mlp.") && told.contains("expert_moments = \"zero\""), "{}: {told}", options.method);
        let kept = kept(&heir(&checkpoint, Precision::F32, ExpertMoments::Zero).unwrap());
        assert!(kept.iter().filter(|(name, _)| name.contains("expert")).all(|(_, moment)| zero(moment)));
        assert!(kept["exp_avg.lm_head.weight"] == tensors("expected.safetensors")["exp_avg.lm_head.weight"]);
    }
}

#[test]
fn a_mean_of_several_models_is_no_heir_of_one() {
    let ((_folder, parent), (_other, branch)) = (true_to_state(), true_to_state());
    let mixed = |trunk| {
        let branches = [Checkpoint::open(&branch.folder).unwrap()];
        let options = Options { branches: vec![branch.folder.clone()], trunk, ..options("branch_train_mix") };
        let root = tempfile::tempdir().unwrap();
        let sources = Sources::new(&parent, &branches).unwrap();
        upcycle(&sources, &options, &root.path().join("out"), &mut |_| {}, &conversions::GO).unwrap();
        let checkpoint = Checkpoint::open(root.path().join("out")).unwrap();
        (root, checkpoint)
    };
    let (_moe, checkpoint) = mixed(Trunk::Average);
    let told = heir(&checkpoint, Precision::F32, ExpertMoments::Zero).unwrap_err();
    assert!(told.contains("mean of 2 checkpoints") && !told.contains(".mlp."), "{told}");
    let (_moe, checkpoint) = mixed(Trunk::First);
    let told = heir(&checkpoint, Precision::F32, ExpertMoments::Copy).unwrap_err();
    assert!(told.contains("experts.1") && told.contains("does not come from this dense model"), "{told}");
    assert!(heir(&checkpoint, Precision::F32, ExpertMoments::Zero).is_ok());
}

#[test]
fn weights_of_another_step_are_refused_by_name() {
    let moved = |name: &str, value: Tensor| if name == "model.layers.1.mlp.up_proj.weight" { value * 1.02 } else { value };
    let (_folder, checkpoint) = dense(moved);
    let told = heir(&checkpoint, Precision::Bf16Master, ExpertMoments::Zero).unwrap_err();
    assert!(told.contains("f32 weights of model.layers.1.mlp.up_proj.weight") && told.contains("another step"), "{told}");
    let biased = |name: &str, value: Tensor| if name == "model.layers.0.input_layernorm.bias" { value + 1.0 } else { value };
    let (_folder, checkpoint) = dense(biased);
    let told = heir(&checkpoint, Precision::Bf16Master, ExpertMoments::Zero).unwrap_err();
    assert!(told.contains("holds nothing of model.layers.0.input_layernorm.bias"), "{told}");
}

#[test]
fn experts_of_unknown_origin_are_refused() {
    let (_folder, parent) = true_to_state();
    let (_moe, checkpoint) = converted(&parent, &options("copy"));
    fs::remove_file(checkpoint.folder.join("coppice.json")).unwrap();
    let told = heir(&checkpoint, Precision::F32, ExpertMoments::Zero).unwrap_err();
    assert!(told.contains("coppice.json") && told.contains("how the experts came"), "{told}");
}

fn recipe() -> TrainConfig {
    let recipe = json!({"steps": 4, "sequence_length": 8, "batch_size": 2, "schedule": {"peak": 1e-3}, "checkpoints": {"every_steps": 2}});
    serde_json::from_value(recipe).unwrap()
}

/// Trains from the state, stopped after two steps or to the end, and returns the trainer and what was noted.
fn train(checkpoint: &Checkpoint, folder: &Path, resume: Resume, stop: bool) -> (Trainer, Vec<String>) {
    let tokens: TokenStream = TokenStream::new((0..200).map(|i| i * 7 % 13).collect::<Vec<u32>>());
    let model = load_for_training(checkpoint, Precision::F32, Device::Cpu).unwrap();
    let inheritance = Inheritance::open(state(), checkpoint, ExpertMoments::Copy).unwrap();
    let mut trainer = Trainer::new(model, recipe(), tokens, None, folder).unwrap().with_inheritance(Some(inheritance));
    let (mut notes, stopped) = (Vec::new(), AtomicBool::new(false));
    let mut tell = |event: &Event| match event {
        Event::Note { text } => notes.push((*text).to_owned()),
        Event::Saved { .. } if stop => stopped.store(true, std::sync::atomic::Ordering::Relaxed),
        _ => {}
    };
    trainer.run(resume, &mut tell, &stopped).unwrap();
    (trainer, notes)
}

#[test]
fn the_count_of_updates_goes_on_and_a_resumed_run_does_not_start_again() {
    let (_folder, parent) = true_to_state();
    let (_moe, checkpoint) = converted(&parent, &options("copy"));
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (trainer, notes) = train(&checkpoint, whole.path(), Resume::Never, false);
    assert_eq!(trainer.optimizer().updates(), STEP + 4);
    assert!(notes.iter().any(|note| note.contains("goes on from update 7") && note.contains("copy of")), "{notes:?}");
    let (trainer, _) = train(&checkpoint, parts.path(), Resume::Never, true);
    assert_eq!(trainer.optimizer().updates(), STEP + 2);
    let (resumed, notes) = train(&checkpoint, parts.path(), Resume::Auto, false);
    assert_eq!(resumed.optimizer().updates(), STEP + 4);
    assert!(!notes.iter().any(|note| note.contains("goes on from update")), "{notes:?}");
    let bytes = |folder: &TempDir| fs::read(folder.path().join("model/model.safetensors")).unwrap();
    assert!(bytes(&whole) == bytes(&parts));
}
