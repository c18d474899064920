//! The recipes that come with the repository: all are read, and those for the real model plan what their comments say, on a model of its
//! shape.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Folder, coppice, done, json_of, tokenizer};

const GIB: f64 = (1_u64 << 30) as f64;

/// A GPU of 141 GB, as its maker counts.
const LARGEST: f64 = 141e9 / GIB;

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let mut all: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

fn name(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

/// `config.json` of StableLM 2 1.6B upcycled to eight experts, top-2, in `layers`.
fn upcycled(layers: &[u64]) -> Value {
    json!({
        "model_type": "stablelm_moe", "vocab_size": 100_352, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24,
        "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 4096, "use_qkv_bias": true, "layer_norm_eps": 1e-5,
        "partial_rotary_factor": 0.25, "rope_theta": 10000.0, "tie_word_embeddings": false, "eos_token_id": 100_257, "num_experts": 8,
        "num_experts_per_tok": 2, "moe_layers": layers, "moe_intermediate_size": 5632, "gate": "topk_softmax", "torch_dtype": "bfloat16",
    })
}

/// The plan of a shipped recipe on random weights of `config` and a small corpus.
fn planned(path: &Path, config: Value) -> Value {
    let folder = Folder::new();
    fs::create_dir(folder.path("model")).unwrap();
    let config = config.as_object().unwrap().clone().into_iter().chain([("eos_token_id".to_owned(), json!(256))]);
    folder.write("model/config.json", Value::Object(config.collect()).to_string());
    tokenizer::write(&folder.path("model"));
    let corpus = folder.write("corpus.jsonl", "{\"text\":\"A document.\"}\n".repeat(20));
    let mut recipe: toml::Table = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let model = [("config", folder.arg("model/config.json")), ("tokenizer", folder.arg("model"))];
    recipe.insert("model".into(), toml::Value::Table(model.map(|(key, value)| (key.to_owned(), value.into())).into_iter().collect()));
    for key in ["train", "valid"] {
        recipe["data"][key] = vec![corpus.clone()].into();
    }
    let recipe = folder.write("recipe.toml", toml::to_string(&recipe).unwrap());
    json_of(&mut coppice(["train", &recipe, "--dry-run", "--json"]))
}

fn gib(plan: &Value, kind: &str) -> f64 {
    plan["memory"][kind].as_f64().unwrap() / GIB
}

#[test]
fn experiments_pass_a_dry_run() {
    let recipes = shipped();
    let experiments: Vec<_> = recipes.iter().filter(|path| !name(path).starts_with("continue-")).collect();
    assert!(experiments.iter().any(|path| name(path) == "capacity") && experiments.len() >= 3, "{recipes:?}");
    for path in experiments {
        done(&mut coppice(["run", path.to_str().unwrap(), "--dry-run"]));
    }
}

#[test]
fn continued_training_of_the_real_model_fits_its_gpu() {
    let recipe = |wanted: &str| shipped().into_iter().find(|path| name(path) == wanted).unwrap();
    let all = planned(&recipe("continue-1.6b"), upcycled(&(0..24).collect::<Vec<_>>()));
    let half = planned(&recipe("continue-1.6b-12of24"), upcycled(&(0..12).map(|layer| 2 * layer + 1).collect::<Vec<_>>()));
    for (plan, parameters, optimizer, total) in [(&all, 7.458, 83.4, 119.0), (&half, 4.551, 50.9, 111.0)] {
        assert!((plan["parameters"].as_f64().unwrap() / 1e9 - parameters).abs() < 1e-3, "{plan}");
        assert!((gib(plan, "optimizer") - optimizer).abs() < 0.1, "{plan}");
        assert!((gib(plan, "total") - total).abs() < 1.5 && gib(plan, "total") < LARGEST, "{plan}");
    }
    assert!((all["training_flops"].as_f64().unwrap() / 1.46e19 - 1.0).abs() < 0.02, "{all}");
    assert!((half["training_flops"].as_f64().unwrap() / 3.2e19 - 1.0).abs() < 0.02, "{half}");
}

#[test]
fn the_recipe_for_eight_gpus_is_read() {
    let path = shipped().into_iter().find(|path| name(path) == "continue-1.6b-8gpu").unwrap();
    let plan = planned(&path, upcycled(&(0..24).collect::<Vec<_>>()));
    assert_eq!(plan["tokens_per_step"].as_u64(), Some(1 << 20));
    assert!((plan["training_flops"].as_f64().unwrap() / 1.56e20 - 1.0).abs() < 0.02, "{plan}");
}
