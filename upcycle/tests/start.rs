//! Optimizer states of DeepSpeed in every layout, against what torch wrote into them (`tests/golden/make_deepspeed.py`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use coppice_models::Config;
use coppice_upcycle::train::start::{DenseState, Kept};
use safetensors::SafeTensors;
use serde_json::{Value, json};

const STEP: u64 = 7;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The model of the golden files, changed.
fn config(changes: &Value) -> Config {
    let mut value = json!({"model_type": "stablelm", "vocab_size": 13, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 32, "partial_rotary_factor": 0.5, "use_qkv_bias": true});
    value.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    Config::from_json(&value).unwrap()
}

fn open(layout: &str) -> DenseState {
    DenseState::open(golden(&format!("deepspeed/{layout}")), &config(&json!({}))).unwrap()
}

/// What a state holds, as bits.
fn bits(state: &DenseState, name: &str, kept: Kept) -> Option<(Vec<i64>, Vec<u32>)> {
    let tensor = state.read(name, kept).unwrap()?;
    let values = Vec::<f32>::try_from(tensor.reshape(-1)).unwrap();
    Some((tensor.size(), values.into_iter().map(f32::to_bits).collect()))
}

/// Every parameter of a state is what the file of expectations says, bit for bit; returns how many vectors were compared.
fn compare(state: &DenseState, expected: &Path, kinds: &[(&str, Kept)]) -> usize {
    let bytes = fs::read(expected).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let names: BTreeSet<&str> = expected.names().iter().filter_map(|name| name.strip_prefix("exp_avg.")).collect();
    assert_eq!(state.names().collect::<BTreeSet<_>>(), names);
    for name in &names {
        for (kind, kept) in kinds {
            let view = expected.tensor(&format!("{kind}.{name}")).unwrap();
            let values: Vec<u32> = view.data().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
            let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
            assert!(bits(state, name, *kept).unwrap() == (shape, values), "{kind} of {name}");
        }
    }
    names.len() * kinds.len()
}

const ALL: [(&str, Kept); 3] = [("fp32", Kept::Master), ("exp_avg", Kept::Mean), ("exp_avg_sq", Kept::Square)];

#[test]
fn every_layout_gives_the_moments_that_torch_wrote() {
    let expected = golden("deepspeed/expected.safetensors");
    for layout in ["ranks", "merged", "merged/bf16_zero_pp_mp_rank_00_optim_states.pt", "transformers"] {
        let state = open(layout);
        assert_eq!(state.step(), STEP, "{layout}");
        assert_eq!(compare(&state, &expected, &ALL), 28 * 3, "{layout}");
    }
    let state = open("named.pt");
    assert_eq!((state.step(), compare(&state, &expected, &ALL[1..])), (STEP, 28 * 2));
    assert!(bits(&state, "model.norm.weight", Kept::Master).is_none());
}

#[test]
fn files_that_deepspeed_wrote_hold_what_deepspeed_says() {
    // Three ranks of DeepSpeed 0.19.8's bf16 optimizer after three steps (`tests/golden/make_deepspeed_run.py`).
    let state = DenseState::open(golden("deepspeed_run"), &config(&json!({}))).unwrap();
    assert_eq!(state.step(), 3);
    assert_eq!(compare(&state, &golden("deepspeed_run/expected.safetensors"), &ALL), 28 * 3);
}

#[test]
fn norm_biases_that_were_never_trained_may_be_absent() {
    let state = open("ranks");
    assert!(bits(&state, "model.layers.0.input_layernorm.bias", Kept::Mean).is_none());
    assert!(bits(&state, "model.norm.bias", Kept::Mean).is_some());
}

#[test]
fn the_state_of_another_model_is_refused_by_the_parameter() {
    let refusal = |layout: &str, changes: Value| {
        let told = DenseState::open(golden(&format!("deepspeed/{layout}")), &config(&changes)).unwrap_err().to_string();
        assert!(told.contains(layout) && told.lines().count() == 1, "{told}");
        told
    };
    for (layout, changes, words) in [
        ("transformers", json!({"num_hidden_layers": 3}), "holds nothing of model.layers.2.input_layernorm.weight"),
        ("transformers", json!({"num_hidden_layers": 1}), "holds model.layers.1.input_layernorm.weight"),
        ("transformers", json!({"intermediate_size": 16}), "model.layers.0.mlp.gate_proj.weight has 96 elements there, expected 128"),
        ("transformers", json!({"use_qkv_bias": false}), "self_attn.k_proj.bias"),
        ("transformers", json!({"vocab_size": 17}), "model.embed_tokens.weight has 104 elements there, expected 136"),
        ("ranks", json!({"num_hidden_layers": 3}), "holds nothing of"),
        ("ranks", json!({"intermediate_size": 16}), "mlp.gate_proj.weight has 96 elements"),
        ("ranks", json!({"num_key_value_heads": 1}), "grouped queries"),
        ("merged", json!({"intermediate_size": 16}), "another model"),
        ("merged", json!({"num_hidden_layers": 1}), "another model"),
        ("named.pt", json!({"num_hidden_layers": 1}), "which this model does not have"),
    ] {
        let told = refusal(layout, changes.clone());
        assert!(told.contains(words), "{layout} {changes}: {told}");
    }
}

#[test]
fn ranks_that_are_absent_or_do_not_belong_together_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let name = |rank: usize| format!("bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt");
    let put = |from: usize, to: usize| fs::copy(golden("deepspeed/ranks").join(name(from)), folder.path().join(name(to))).unwrap();
    let refusal = || DenseState::open(folder.path(), &config(&json!({}))).unwrap_err().to_string();
    assert!(refusal().contains("holds no file called"));
    put(0, 0);
    put(2, 2);
    assert!(refusal().contains("not rank 1"));
    put(1, 1);
    assert!(refusal().contains("cut for 5 ranks and there are files of 3"));
    put(3, 3);
    put(4, 4);
    assert!(DenseState::open(folder.path(), &config(&json!({}))).is_ok());
    put(2, 1);
    assert!(refusal().contains("elements there, expected"), "rank 2 in the place of rank 1: {}", refusal());
    put(0, 5);
    assert!(refusal().contains("cut for 5 ranks and there are files of 6"));
}
