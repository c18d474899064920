//! Checkpoints that are cut, lie, or do not belong together: `score`, `generate` and `upcycle` refuse them in one sentence.

use std::fs;

use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::support::checkpoint::{SIZES, Tensors, write_tensors};
use crate::support::outcome::ended;
use crate::support::{Folder, config, coppice, refused, sentence, stderr, tensors, words, write_checkpoint};

/// Header bits flipped in turn.
const FLIPS: usize = 16;

/// What each of the three commands says of the checkpoint in `model/`; all must say the same and write nothing.
fn refusal(folder: &Folder) -> String {
    let input = folder.write("in.jsonl", "{\"tokens\":[1,2,3]}\n");
    let before = folder.names();
    let (model, output) = (folder.arg("model"), folder.arg("out"));
    let upcycled = refused(&mut coppice(["upcycle", "--model", &model, "--output", &output]));
    let scored = refused(&mut coppice(["score", "--model", &model, "--input", &input, "--output", &output]));
    let generated = refused(&mut coppice(["generate", "--model", &model, "--tokens", "1,2"]));
    assert_eq!(folder.names(), before);
    assert_eq!((&scored, &generated), (&upcycled, &upcycled));
    upcycled
}

/// A model whose configuration has one key changed.
fn with_key(key: &str, value: Value) -> Folder {
    let folder = Folder::new();
    let mut config = config();
    config[key] = value;
    write_checkpoint(&folder.path("model"), &config, &tensors(&SIZES));
    folder
}

/// A model whose tensors were changed.
fn with_tensors(change: impl FnOnce(&mut Tensors)) -> Folder {
    let folder = Folder::new();
    let mut tensors = tensors(&SIZES);
    change(&mut tensors);
    write_checkpoint(&folder.path("model"), &config(), &tensors);
    folder
}

/// The weights file as header and data.
fn split(bytes: &[u8]) -> (Value, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), bytes[8 + length..].to_vec())
}

fn joined(header: &Value, data: &[u8]) -> Vec<u8> {
    let text = header.to_string();
    [&(text.len() as u64).to_le_bytes(), text.as_bytes(), data].concat()
}

/// A model whose safetensors header was rewritten.
fn with_header(change: impl FnOnce(&mut Value)) -> Folder {
    let folder = Folder::with_model();
    let path = folder.path("model/model.safetensors");
    let (mut header, data) = split(&fs::read(&path).unwrap());
    change(&mut header);
    fs::write(path, joined(&header, &data)).unwrap();
    folder
}

fn assert_says(told: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| told.contains(part)), "expected {parts:?} in: {told}");
}

#[test]
fn a_truncated_file_is_named() {
    let folder = Folder::with_model();
    let path = folder.path("model/model.safetensors");
    let bytes = fs::read(&path).unwrap();
    for length in [0, 5, 8, 200, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        assert_says(&refusal(&folder), &["model.safetensors", "not a whole safetensors file"]);
    }
}

#[test]
fn a_header_that_lies_is_refused() {
    let norm = "model.norm.weight";
    let offsets = with_header(|header| header[norm]["data_offsets"] = json!([0, 1_u64 << 40]));
    assert_says(&refusal(&offsets), &["model.safetensors"]);
    let overlapping = with_header(|header| header[norm]["data_offsets"] = json!([0, 128]));
    assert_says(&refusal(&overlapping), &["model.safetensors"]);
    let larger = with_header(|header| header[norm]["shape"] = json!([64]));
    assert_says(&refusal(&larger), &["model.safetensors"]);
    let huge = with_header(|header| header[norm]["shape"] = json!([1_u64 << 62, 1_u64 << 62]));
    assert_says(&refusal(&huge), &["model.safetensors"]);
    let other_type = with_header(|header| header[norm]["dtype"] = json!("F64"));
    assert_says(&refusal(&other_type), &["model.safetensors"]);
    let same_size = with_header(|header| header[norm]["dtype"] = json!("I32"));
    assert_says(&refusal(&same_size), &[norm, "I32", "expected F32, F16 or BF16"]);
}

#[test]
fn a_header_longer_than_the_file_is_refused() {
    let folder = Folder::with_model();
    let path = folder.path("model/model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    for length in [u64::MAX, 1 << 40, bytes.len() as u64] {
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        fs::write(&path, &bytes).unwrap();
        assert_says(&refusal(&folder), &["model.safetensors"]);
    }
}

#[test]
fn a_flipped_bit_in_the_header_is_refused_or_harmless() {
    let folder = Folder::with_model();
    let path = folder.path("model/model.safetensors");
    let whole = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut rng = rand::rngs::StdRng::seed_from_u64(7);
    for _ in 0..FLIPS {
        let mut bytes = whole.clone();
        let (byte, bit) = (rng.random_range(0..header), rng.random_range(0..8));
        bytes[byte] ^= 1 << bit;
        fs::write(&path, &bytes).unwrap();
        let output = coppice(["generate", "--model", &folder.arg("model"), "--tokens", "1,2", "--max-new-tokens", "1"]).output().unwrap();
        assert!(!stderr(&output).contains("panicked"), "byte {byte} bit {bit}: {}", stderr(&output));
        match output.status.code() {
            // Padding and free text of the header may change without changing a tensor.
            Some(0) => {}
            Some(2) => drop(sentence(&output)),
            code => panic!("byte {byte} bit {bit}: exit {code:?}: {}", stderr(&output)),
        }
    }
}

#[test]
fn an_index_may_only_name_files_beside_it() {
    let folder = Folder::with_model();
    fs::copy(folder.path("model/model.safetensors"), folder.path("outside.safetensors")).unwrap();
    for name in ["../outside.safetensors", "/etc/passwd", "sub/x.safetensors", ".."] {
        let index = json!({ "weight_map": { "model.norm.weight": name } });
        folder.write("model/model.safetensors.index.json", index.to_string());
        assert_says(&refusal(&folder), &["model.safetensors.index.json", name]);
    }
    folder.write("model/model.safetensors.index.json", "{");
    assert_says(&refusal(&folder), &["model.safetensors.index.json"]);
}

#[test]
fn absurd_sizes_are_refused_by_name() {
    for (key, value) in [
        ("vocab_size", json!(1_i64 << 60)),
        ("hidden_size", json!(-32)),
        ("hidden_size", json!(0)),
        ("intermediate_size", json!(1e30)),
        ("num_hidden_layers", json!(1_000_000_000)),
        ("num_attention_heads", json!(5)),
        ("num_key_value_heads", json!(3)),
        ("max_position_embeddings", json!(i64::MAX)),
        ("partial_rotary_factor", json!(7.5)),
        ("layer_norm_eps", json!(-1.0)),
        ("rope_theta", json!("ten thousand")),
        ("use_qkv_bias", json!("yes")),
    ] {
        assert_says(&refusal(&with_key(key, value)), &["config", key]);
    }
}

#[test]
fn sizes_that_only_no_machine_holds_are_refused_without_the_memory() {
    let folder = with_key("hidden_size", json!(1 << 24));
    assert_says(&refusal(&folder), &["has shape", "16777216"]);
    let told = refused(&mut coppice(["flops", "--model", &folder.arg("nowhere")]));
    assert_says(&told, &["nowhere"]);
}

#[test]
fn an_unknown_architecture_is_refused_by_name() {
    assert_says(&refusal(&with_key("model_type", json!("llama"))), &["\"llama\"", "known: stablelm"]);
    assert_says(&refusal(&with_key("hidden_act", json!("gelu"))), &["\"gelu\"", "known: silu"]);
}

#[test]
fn a_config_that_is_no_config_is_refused() {
    let folder = Folder::with_model();
    for text in ["", "{", "[]", "null"] {
        folder.write("model/config.json", text);
        assert_says(&refusal(&folder), &["config"]);
    }
}

#[test]
fn missing_and_unexpected_tensors_are_named() {
    let missing = with_tensors(|tensors| drop(tensors.remove("model.layers.1.mlp.up_proj.weight")));
    assert_says(&refusal(&missing), &["missing", "model.layers.1.mlp.up_proj.weight"]);
    let unexpected = with_tensors(|tensors| drop(tensors.insert("model.layers.2.x".into(), (vec![1], vec![0.0]))));
    assert_says(&refusal(&unexpected), &["unexpected", "model.layers.2.x"]);
}

#[test]
fn a_tensor_in_two_shards_is_named() {
    let folder = Folder::new();
    let (all, twice) = (tensors(&SIZES), "model.norm.weight");
    let (first, mut second): (Tensors, Tensors) = all.into_iter().partition(|(name, _)| !name.starts_with("model.layers.1."));
    second.insert(twice.into(), first[twice].clone());
    write_checkpoint(&folder.path("model"), &config(), &first);
    fs::rename(folder.path("model/model.safetensors"), folder.path("model/model-1.safetensors")).unwrap();
    write_tensors(&folder.path("model/model-2.safetensors"), &second);
    let homes = first.keys().map(|name| (name, "model-1.safetensors")).chain(second.keys().map(|name| (name, "model-2.safetensors")));
    let map: Value = homes.map(|(name, file)| (name.clone(), json!(file))).collect::<serde_json::Map<_, _>>().into();
    folder.write("model/model.safetensors.index.json", json!({ "weight_map": map }).to_string());
    assert_says(&refusal(&folder), &[twice, "stands in two files"]);
}

#[test]
fn a_wrong_shape_names_tensor_and_both_shapes() {
    let folder = with_tensors(|tensors| tensors.get_mut("model.layers.0.mlp.up_proj.weight").unwrap().0 = vec![32, 48]);
    assert_says(&refusal(&folder), &["model.layers.0.mlp.up_proj.weight", "[32, 48]", "[48, 32]"]);
}

#[test]
fn a_weight_that_is_nan_is_named() {
    let name = "model.layers.1.mlp.down_proj.weight";
    for value in [f32::NAN, f32::INFINITY] {
        let folder = with_tensors(|tensors| tensors.get_mut(name).unwrap().1[7] = value);
        let input = folder.write("in.jsonl", "{\"tokens\":[1,2,3]}\n");
        let before = folder.names();
        let (model, output) = (folder.arg("model"), folder.arg("out"));
        let upcycled = refused(&mut coppice(["upcycle", "--model", &model, "--output", &output]));
        let scored = refused(&mut coppice(["score", "--model", &model, "--input", &input, "--output", &output]));
        let generated = refused(&mut coppice(["generate", "--model", &model, "--tokens", "1,2"]));
        [upcycled, scored, generated].iter().for_each(|told| assert_says(told, &[name, "NaN or infinity"]));
        assert_eq!(folder.names(), before);
    }
}

#[test]
fn a_folder_without_a_model_says_so() {
    let folder = Folder::new();
    let told = refused(&mut coppice(["generate", "--model", &folder.arg("nothing"), "--tokens", "1"]));
    assert_says(&told, &["nothing"]);
    let told = refused(&mut coppice(words("generate --model stabilityai/stablelm-2-1_6b --tokens 1")));
    assert_says(&told, &["stabilityai/stablelm-2-1_6b", "coppice pull"]);
}

#[test]
fn a_broken_tokenizer_is_named() {
    let folder = Folder::with_model();
    let input = folder.write("in.jsonl", "{\"text\":\"hello\"}\n");
    for content in ["", "{", "{}", "{\"model\":{\"type\":\"BPE\"}}"] {
        folder.write("model/tokenizer.json", content);
        let before = folder.names();
        let (model, output) = (folder.arg("model"), folder.arg("out.jsonl"));
        let scored = refused(&mut coppice(["score", "--model", &model, "--input", &input, "--output", &output]));
        let generated = refused(&mut coppice(["generate", "--model", &model, "--prompt", "hello"]));
        let upcycled = refused(&mut coppice(["upcycle", "--model", &model, "--output", &output, "--report-text", &input]));
        [scored, generated, upcycled].iter().for_each(|told| assert_says(told, &["tokenizer.json"]));
        assert_eq!(folder.names(), before);
    }
}

#[test]
fn a_tokenizer_larger_than_the_model_names_the_id() {
    let folder = Folder::new();
    let sizes = crate::support::checkpoint::Sizes { vocabulary: 100, ..SIZES };
    let mut config = config();
    config["vocab_size"] = json!(100);
    write_checkpoint(&folder.path("model"), &config, &tensors(&sizes));
    crate::support::tokenizer::write(&folder.path("model"));
    let output = ended(&mut coppice(["generate", "--model", &folder.arg("model"), "--prompt", "zzz"]), 2);
    assert_says(&sentence(&output), &["122", "100"]);
}
