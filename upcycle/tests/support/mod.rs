//! Small random StableLM 2 checkpoints of every published variant.
#![allow(dead_code, reason = "every test file uses some of it")]

use std::path::Path;

use coppice_models::init::normal;
use coppice_models::tensors::{TensorSpec, expected};
use coppice_models::{Checkpoint, Config};
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Name and configuration of the variants: 1.6B, 12B and 3B in small, tied, and without LayerNorm biases.
pub(crate) fn variants() -> Vec<(&'static str, Config)> {
    let small = json!({"model_type": "stablelm", "vocab_size": 67, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
        "num_attention_heads": 4, "max_position_embeddings": 64, "eos_token_id": 0});
    let with = |changes: Value| {
        let mut value = small.clone();
        value.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        Config::from_json(&value).unwrap()
    };
    vec![
        ("1.6B", with(json!({"use_qkv_bias": true}))),
        ("12B", with(json!({"num_key_value_heads": 2, "qk_layernorm": true, "use_parallel_residual": true, "use_norm_bias": false}))),
        ("3B", with(json!({"num_attention_heads": 2}))),
        ("tied", with(json!({"use_qkv_bias": true, "tie_word_embeddings": true}))),
        ("no norm bias", with(json!({"use_norm_bias": false}))),
    ]
}

/// The first variant.
pub(crate) fn plain() -> Config {
    variants().remove(0).1
}

/// Writes a checkpoint of random weights, every one of them non-zero; `spoil` may change values.
pub(crate) fn write(config: &Config, dtype: Dtype, spoil: impl Fn(&str, &mut Vec<f32>)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_weights(&folder.path().join("model.safetensors"), config, dtype, spoil);
    std::fs::write(folder.path().join("config.json"), config.to_json("float32").to_string()).unwrap();
    folder
}

/// Writes and opens a checkpoint.
pub(crate) fn open(config: &Config, dtype: Dtype) -> (TempDir, Checkpoint) {
    let folder = write(config, dtype, |_, _| {});
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    (folder, checkpoint)
}

/// Names of everything in a folder, hidden files included.
pub(crate) fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn write_weights(path: &Path, config: &Config, dtype: Dtype, spoil: impl Fn(&str, &mut Vec<f32>)) {
    let stored: Vec<(TensorSpec, Vec<u8>)> = expected(config)
        .into_iter()
        .filter(|spec| present(config, &spec.name))
        .map(|spec| {
            let mut values = values(&spec);
            spoil(&spec.name, &mut values);
            (spec, encode(&values, dtype))
        })
        .collect();
    let views = stored.iter().map(|(spec, bytes)| {
        let shape = spec.shape.iter().map(|&size| size as usize).collect();
        (spec.name.as_str(), TensorView::new(dtype, shape, bytes).unwrap())
    });
    serialize_to_file(views, None, path).unwrap();
}

fn present(config: &Config, name: &str) -> bool {
    let norm_bias = name.contains("norm") && name.ends_with(".bias");
    (config.layer_norm_bias || !norm_bias) && (!config.tie_word_embeddings || name != "lm_head.weight")
}

fn values(spec: &TensorSpec) -> Vec<f32> {
    let norm = spec.name.contains("norm") && spec.name.ends_with(".weight");
    let (offset, std) = if norm { (1.0, 0.1) } else { (0.0, 0.2) };
    normal(5, &spec.name, spec.numel() as usize, std).into_iter().map(|value| value + offset).collect()
}

fn encode(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F16 => values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
        Dtype::BF16 => values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}
