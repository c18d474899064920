//! Merging experts back: exact where all replicas are equal, means by hand where they are not, and what is refused.

mod support;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use coppice_models::{Checkpoint, Config, Gate, Model, MoeConfig, SharedExpert};
use coppice_upcycle::convert::options::{Scaling, SharedStart};
use coppice_upcycle::convert::{ConvertError, Options as Conversion, Sources, upcycle};
use coppice_upcycle::merge::{Manifest, Options, Weights, forecast, merge_experts};
use coppice_upcycle::methods::unit_permutation;
use safetensors::Dtype;
use serde_json::{Value, json};
use support::{listing, open, plain, variants};
use tch::{Device, Kind, Tensor};

static GO: AtomicBool = AtomicBool::new(false);

fn merge(source: &Checkpoint, options: &Options, output: &Path) -> Result<Manifest, ConvertError> {
    merge_experts(source, options, output, &mut |_| {}, &GO)
}

/// Merges into a temporary folder and opens the result.
fn merged(source: &Checkpoint, options: &Options) -> (tempfile::TempDir, Checkpoint, Manifest) {
    let root = tempfile::tempdir().unwrap();
    let manifest = merge(source, options, &root.path().join("out")).unwrap();
    let result = Checkpoint::open(root.path().join("out")).unwrap();
    (root, result, manifest)
}

/// Opens what a conversion makes of a dense checkpoint.
fn copied(dense: &Checkpoint, options: &Conversion) -> (tempfile::TempDir, Checkpoint) {
    let root = tempfile::tempdir().unwrap();
    upcycle(&Sources::one(dense), options, &root.path().join("out"), &mut |_| {}, &GO).unwrap();
    let result = Checkpoint::open(root.path().join("out")).unwrap();
    (root, result)
}

fn tensor(checkpoint: &Checkpoint, name: &str) -> Tensor {
    checkpoint.load(name, Kind::Float, Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.contiguous().flatten(0, -1)).unwrap()
}

/// A matrix of the dense MLP of a layer.
fn dense_matrix(dense: &Checkpoint, layer: &str, matrix: &str) -> Tensor {
    tensor(dense, &format!("model.layers.{layer}.mlp.{matrix}.weight"))
}

/// Writes a routed checkpoint: everything but the MLPs from `dense`, expert matrices by `expert(layer, expert, matrix)`, shared ones by
/// `expert(layer, -1, matrix)`; what it leaves out keeps random values.
fn grown(dense: &Checkpoint, moe: MoeConfig, expert: impl Fn(&str, i64, &str) -> Option<Tensor>) -> (tempfile::TempDir, Checkpoint) {
    let config = Config { moe: Some(moe), ..dense.config.clone() };
    let folder = support::write(&config, Dtype::F32, |name, stored| {
        let parts: Vec<&str> = name.split('.').collect();
        let made = match parts[..] {
            ["model", "layers", layer, "mlp", "experts", number, matrix, "weight"] => expert(layer, number.parse().unwrap(), matrix),
            ["model", "layers", layer, "mlp", "shared_expert", matrix, "weight"] => expert(layer, -1, matrix),
            _ => dense.entry(name).map(|_| tensor(dense, name)),
        };
        if let Some(made) = made {
            *stored = values(&made);
        }
    });
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    (folder, checkpoint)
}

fn moe(experts: i64, width: i64, upcycling: Value) -> MoeConfig {
    let layers = vec![0, 1, 2];
    MoeConfig { num_experts: experts, layers, expert_intermediate_size: width, upcycling: Some(upcycling), ..MoeConfig::default() }
}

fn logits(checkpoint: &Checkpoint) -> Tensor {
    let ids: Vec<i64> = (0..34).map(|i| (i * 29 + 3) % checkpoint.config.vocab_size).collect();
    let model = Model::load(checkpoint, Kind::Float, Device::Cpu).unwrap();
    tch::no_grad(|| model.forward(&Tensor::from_slice(&ids).view([2, 17])).unwrap())
}

/// `‖b − a‖ / ‖a‖` in f64.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    ((&b - &a).norm() / a.norm()).double_value(&[])
}

/// All tensors of a checkpoint, as bytes.
fn bytes(checkpoint: &Checkpoint) -> HashMap<String, Vec<u8>> {
    checkpoint.names().map(|name| (name.to_owned(), checkpoint.bytes(name).unwrap().to_vec())).collect()
}

#[test]
fn fresh_copies_give_the_dense_weights_bit_for_bit() {
    for (name, config) in variants() {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            let (_folder, dense) = open(&config, dtype);
            for (experts, layers) in [(3, "all"), (8, "alternate")] {
                let options = Conversion { experts, layers: layers.parse().unwrap(), ..Conversion::default() };
                let (_moe, routed) = copied(&dense, &options);
                let (_root, result, manifest) = merged(&routed, &Options::default());
                assert_eq!((&result.config, bytes(&result)), (&dense.config, bytes(&dense)), "{name} {dtype} {layers}");
                assert_eq!((manifest.scale, manifest.kind), (1.0, "merged"));
            }
        }
    }
}

/// Options of a method, converting a model of width 48 into experts that all compute one MLP.
fn by(method: &str, granularity: i64, top_k: i64) -> Conversion {
    Conversion { method: method.into(), experts: 2 * granularity.max(2), top_k, granularity: Some(granularity), ..Conversion::default() }
}

#[test]
fn shuffled_and_silent_experts_give_the_dense_weights_bit_for_bit() {
    let zero = |granularity, shared_gate| Conversion { shared_gate, ..by("shared_expert", granularity, 2) };
    let drop_none = Conversion { ratio: 0.0, granularity: None, ..by("drop", 1, 2) };
    let shuffle = Conversion { seed: 9, layers: "0,2".parse().unwrap(), granularity: None, ..by("shuffle", 1, 2) };
    for options in [shuffle, drop_none, zero(1, false), zero(4, false), zero(1, true), zero(3, true)] {
        for (name, config) in variants() {
            let (_folder, dense) = open(&config, Dtype::BF16);
            let (_moe, routed) = copied(&dense, &options);
            let (_root, result, manifest) = merged(&routed, &Options::default());
            assert_eq!((&result.config, bytes(&result)), (&dense.config, bytes(&dense)), "{name} {}", options.method);
            assert_eq!(manifest.upcycling.unwrap()["method"], options.method);
        }
    }
}

#[test]
fn virtual_groups_give_the_dense_function() {
    let base = |gate, scaling| Conversion { gate, scaling, ..by("virtual_group", 3, 3) };
    let sum_to_one = [Scaling::Down, Scaling::SqrtUpDown].map(|scaling| base(Gate::TopkSoftmax, scaling));
    let uniform = [Scaling::Down, Scaling::SqrtUpDown].map(|scaling| base(Gate::SoftmaxTopk, scaling));
    for options in sum_to_one.into_iter().chain(uniform) {
        for (name, config) in variants() {
            let (_folder, dense) = open(&config, Dtype::F32);
            let (_moe, routed) = copied(&dense, &options);
            let (_root, result, _) = merged(&routed, &Options::default());
            assert_eq!(result.config, dense.config);
            assert!(apart(&logits(&dense), &logits(&result)) <= 1e-5, "{name} {:?} {:?}", options.gate, options.scaling);
        }
    }
}

#[test]
fn shared_and_routed_copies_stand_side_by_side() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    for shared_gate in [false, true] {
        let options =
            Conversion { shared_start: SharedStart::Copies, shared_gate, layers: "1".parse().unwrap(), ..by("shared_expert", 1, 2) };
        let (_moe, routed) = copied(&dense, &options);
        let (_root, result, _) = merged(&routed, &Options::default());
        assert_eq!(result.config.intermediate_size, 96);
        assert!(apart(&logits(&dense), &logits(&result)) <= 1e-5);
    }
}

#[test]
fn dropped_units_are_averaged_at_their_own_place() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let (_moe, routed) = copied(&dense, &Conversion { seed: 3, granularity: None, ..by("drop", 1, 2) });
    let (_root, result, _) = merged(&routed, &Options::default());
    let name = |expert: usize| format!("model.layers.1.mlp.experts.{expert}.up_proj.weight");
    let (experts, found) =
        ([0, 1, 2, 3].map(|expert| values(&tensor(&routed, &name(expert)))), values(&dense_matrix(&result, "1", "up_proj")));
    for unit in 0..48_usize {
        let place = |expert: usize| unit_permutation(3, 1, expert, 48).iter().position(|&dense| dense == unit as i64).unwrap();
        let mean = (0..4).map(|expert| f64::from(experts[expert][place(expert) * 32])).sum::<f64>() / 4.0;
        assert!((f64::from(found[unit * 32]) - mean).abs() < 1e-7, "{unit}");
    }
}

#[test]
fn equal_loads_or_not_equal_replicas_stay_what_they_are() {
    let (_folder, dense) = open(&plain(), Dtype::BF16);
    let (_moe, routed) = copied(&dense, &Conversion { experts: 3, ..Conversion::default() });
    let loads = Weights::Load(vec![vec![0.7, 0.1, 0.2], vec![1.0, 0.0, 0.0], vec![0.0, 0.0, 0.0]]);
    let (_root, result, _) = merged(&routed, &Options { weights: loads, ..Options::default() });
    assert_eq!(bytes(&result), bytes(&dense));
}

#[test]
fn parts_are_put_together_and_scaling_is_undone() {
    for (name, config) in variants() {
        let (_folder, dense) = open(&config, Dtype::F32);
        for root in [false, true] {
            let facts = json!({"granularity": 4, "permuted": false});
            let (_moe, routed) =
                grown(&dense, MoeConfig { experts_per_token: 4, router_group_size: 4, ..moe(8, 12, facts) }, |layer, expert, matrix| {
                    let whole = dense_matrix(&dense, layer, matrix);
                    let part = expert % 4 * 12;
                    Some(match matrix {
                        "down_proj" => whole.narrow(1, part, 12) * if root { 2.0 } else { 4.0 },
                        "up_proj" if root => whole.narrow(0, part, 12) * 2.0,
                        _ => whole.narrow(0, part, 12),
                    })
                });
            let (_root, result, manifest) = merged(&routed, &Options::default());
            assert_eq!((manifest.granularity, manifest.scale, result.config.intermediate_size), (4, 0.25, 48));
            assert!(apart(&logits(&dense), &logits(&result)) <= 1e-5, "{name}");
            if !root {
                assert_eq!(bytes(&result), bytes(&dense), "a factor of 4 is exact");
            }
        }
    }
}

#[test]
fn a_mixture_of_equal_replicas_and_its_merger_compute_the_same() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let shared = SharedExpert { intermediate_size: 48, gated: false };
    let copies = MoeConfig { layers: vec![1], shared_expert: Some(shared), ..moe(4, 48, json!({"granularity": 1})) };
    let (_moe, routed) = grown(&dense, copies, |layer, expert, matrix| {
        let whole = dense_matrix(&dense, layer, matrix);
        Some(if matrix == "down_proj" && expert >= 0 { whole * 0.3 } else { whole })
    });
    let (_root, result, manifest) = merged(&routed, &Options::default());
    assert_eq!(result.config.intermediate_size, 96);
    let made: Vec<_> = manifest.layers.iter().map(|layer| (layer.dense, layer.shared, layer.routed, layer.padding)).collect();
    assert_eq!(made, [(48, 0, 0, 48), (0, 48, 48, 0), (48, 0, 0, 48)]);
    assert!(apart(&logits(&routed), &logits(&result)) <= 1e-5);
    assert!(manifest.notes.iter().any(|note| note.contains("padded")));
}

#[test]
fn routed_experts_that_put_out_zero_are_left_out() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    for gated in [false, true] {
        let shared = SharedExpert { intermediate_size: 48, gated };
        let config = MoeConfig { shared_expert: Some(shared), ..moe(4, 24, json!({"granularity": 2})) };
        let silent = |layer: &str, expert: i64, matrix: &str| match (expert, matrix) {
            (-1, "down_proj") => Some(dense_matrix(&dense, layer, matrix) * if gated { 2.0 } else { 1.0 }),
            (-1, _) => Some(dense_matrix(&dense, layer, matrix)),
            (_, "down_proj") => Some(Tensor::zeros([32, 24], (Kind::Float, Device::Cpu))),
            _ => None,
        };
        let (folder, routed) = grown(&dense, config, silent);
        let refused = merge(&routed, &Options::default(), &folder.path().join("out"));
        if gated {
            assert!(refused.unwrap_err().to_string().contains("gate depends on the token"));
        }
        let routed = if gated { without_gate(&routed) } else { (folder, routed) };
        let (_root, result, _) = merged(&routed.1, &Options::default());
        assert_eq!((&result.config, bytes(&result)), (&dense.config, bytes(&dense)));
    }
}

/// The checkpoint with shared experts' gates of zero.
fn without_gate(routed: &Checkpoint) -> (tempfile::TempDir, Checkpoint) {
    let folder = support::write(&routed.config, Dtype::F32, |name, stored| {
        *stored = if name.contains("shared_expert_gate") { vec![0.0; stored.len()] } else { values(&tensor(routed, name)) };
    });
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    (folder, checkpoint)
}

#[test]
fn different_replicas_are_averaged_by_hand_in_f64() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let (_moe, routed) = grown(&dense, MoeConfig { layers: vec![0, 2], ..moe(6, 24, json!({"granularity": 2})) }, |_, _, _| None);
    let loads = vec![vec![0.1, 0.2, 0.3, 0.1, 0.2, 0.1], vec![0.5, 0.0, 0.25, 0.0, 0.25, 0.0]];
    for by_load in [false, true] {
        let weights = if by_load { Weights::Load(loads.clone()) } else { Weights::Average };
        let (_root, result, _) = merged(&routed, &Options { weights, ..Options::default() });
        for (place, layer) in [0, 2].into_iter().enumerate() {
            for (matrix, scale) in [("gate_proj", 1.0), ("up_proj", 1.0), ("down_proj", 0.5)] {
                let part = |part: usize| {
                    let experts: Vec<usize> = (part..6).step_by(2).collect();
                    let own: Vec<f64> = experts.iter().map(|&e| if by_load { loads[place][e] } else { 1.0 }).collect();
                    let total: f64 = own.iter().sum();
                    let weigh = |(i, &e): (usize, &usize)| {
                        let weight = if total > 0.0 { own[i] / total } else { 1.0 / 3.0 };
                        tensor(&routed, &format!("model.layers.{layer}.mlp.experts.{e}.{matrix}.weight")).to_kind(Kind::Double)
                            * (weight * scale)
                    };
                    experts.iter().enumerate().map(weigh).reduce(|a, b| a + b).unwrap()
                };
                let wanted = Tensor::cat(&[part(0), part(1)], i64::from(matrix == "down_proj"));
                let found = tensor(&result, &format!("model.layers.{layer}.mlp.{matrix}.weight"));
                assert!(apart(&wanted, &found) < 1e-7, "{layer} {matrix} {by_load}");
            }
        }
    }
}

#[test]
fn weights_that_sum_to_less_than_one_are_taken_at_a_uniform_router() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let config = MoeConfig { gate: Gate::SoftmaxTopk, experts_per_token: 2, ..moe(8, 48, json!({"granularity": 1})) };
    let (_moe, routed) = grown(&dense, config, |layer, expert, matrix| {
        let whole = dense_matrix(&dense, layer, matrix);
        Some(if matrix == "down_proj" && expert >= 0 { whole * 4.0 } else { whole })
    });
    let (_root, result, manifest) = merged(&routed, &Options::default());
    assert_eq!(bytes(&result), bytes(&dense));
    assert!(manifest.notes.iter().any(|note| note.contains("K/N = 2/8")), "{:?}", manifest.notes);
}

#[test]
fn another_type_and_several_files_are_read_back() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let (_moe, routed) = copied(&dense, &Conversion { experts: 2, ..Conversion::default() });
    let options = Options { dtype: Some(Dtype::BF16), max_shard_bytes: 20_000, ..Options::default() };
    let told = forecast(&routed, &options).unwrap();
    let (root, result, manifest) = merged(&routed, &options);
    assert!(told.files > 1 && manifest.files.len() == told.files && manifest.parameters == told.parameters);
    assert!(root.path().join("out/model.safetensors.index.json").exists());
    for name in dense.names() {
        assert!(tensor(&result, name).equal(&tensor(&dense, name).to_kind(Kind::BFloat16).to_kind(Kind::Float)), "{name}");
    }
    let config: Value = serde_json::from_str(&std::fs::read_to_string(root.path().join("out/config.json")).unwrap()).unwrap();
    assert_eq!((&config["model_type"], &config["torch_dtype"]), (&json!("stablelm"), &json!("bfloat16")));
    assert!(config.get("num_experts").is_none() && config.get("auto_map").is_none());
}

#[test]
fn what_cannot_be_merged_is_refused_and_nothing_is_written() {
    let (_folder, dense) = open(&plain(), Dtype::F32);
    let root = tempfile::tempdir().unwrap();
    let output = root.path().join("out");
    let refusal = |source: &Checkpoint, options: &Options| {
        let sentence = merge(source, options, &output).unwrap_err().to_string();
        assert_eq!(listing(root.path()), Vec::<String>::new());
        sentence
    };
    assert!(refusal(&dense, &Options::default()).contains("dense"));
    let (_a, uneven) = grown(&dense, moe(6, 12, json!({"granularity": 4})), |_, _, _| None);
    assert!(refusal(&uneven, &Options::default()).contains("no whole replicas"));
    let (_b, sick) = grown(&dense, moe(2, 48, json!({})), |layer, expert, matrix| {
        (layer == "1" && expert == 1 && matrix == "up_proj").then(|| Tensor::full([48, 32], f64::NAN, (Kind::Float, Device::Cpu)))
    });
    assert!(refusal(&sick, &Options::default()).contains("model.layers.1.mlp.experts.1.up_proj.weight holds NaN"));
    let (_c, good) = grown(&dense, moe(2, 48, json!({})), |_, _, _| None);
    for loads in [vec![], vec![vec![1.0]; 3], vec![vec![0.5, f64::NAN]; 3]] {
        assert!(refusal(&good, &Options { weights: Weights::Load(loads), ..Options::default() }).contains("load"));
    }
    let stop = AtomicBool::new(true);
    assert!(matches!(merge_experts(&good, &Options::default(), &output, &mut |_| {}, &stop), Err(ConvertError::Interrupted)));
    assert_eq!(listing(root.path()), Vec::<String>::new());
    let inside = Options { overwrite: true, ..Options::default() };
    assert!(merge(&good, &inside, &good.folder).unwrap_err().to_string().contains("holds the source"));
    std::fs::create_dir(&output).unwrap();
    assert!(merge(&good, &Options::default(), &output).unwrap_err().to_string().contains("exists"));
}
