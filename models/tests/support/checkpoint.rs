//! Writes a golden case as a checkpoint folder, with the `safetensors` crate's own writer.

use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};
use serde_json::json;
use tempfile::TempDir;

use super::golden::{Case, Recipe};
use super::weights;

/// A temporary checkpoint folder with the case's configuration and weights, sharded as it says.
pub(crate) fn write(case: &Case) -> TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    let names: Vec<&String> = case.tensors.keys().collect();
    for shard in 0..case.shards {
        let part: Vec<_> = names.iter().skip(shard).step_by(case.shards).copied().collect();
        write_file(case, &part, &folder.path().join(file_name(shard, case.shards)));
    }
    if case.shards > 1 {
        write_index(&names, case.shards, folder.path());
    }
    std::fs::write(folder.path().join("config.json"), case.config.to_string()).expect("config.json");
    folder
}

fn file_name(shard: usize, shards: usize) -> String {
    if shards == 1 { "model.safetensors".into() } else { format!("model-{:05}-of-{shards:05}.safetensors", shard + 1) }
}

fn write_file(case: &Case, names: &[&String], path: &Path) {
    let stored: Vec<_> = names.iter().map(|name| (name, bytes(name, &case.tensors[*name], &case.dtype))).collect();
    let view = |name: &str, bytes| {
        let shape = case.tensors[name].shape.iter().map(|&size| size as usize).collect();
        TensorView::new(dtype(&case.dtype), shape, bytes).expect("a view of the right size")
    };
    let views = stored.iter().map(|(name, bytes)| (name.as_str(), view(name, bytes)));
    serialize_to_file(views, None, path).expect("safetensors file");
}

fn write_index(names: &[&String], shards: usize, folder: &Path) {
    let place = |(index, name): (usize, &&String)| ((*name).clone(), file_name(index % shards, shards));
    let map: BTreeMap<String, String> = names.iter().enumerate().map(place).collect();
    let index = json!({"metadata": {}, "weight_map": map});
    std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).expect("index");
}

fn dtype(name: &str) -> Dtype {
    match name {
        "F16" => Dtype::F16,
        "BF16" => Dtype::BF16,
        _ => Dtype::F32,
    }
}

/// The tensor's values, rounded to nearest even, little-endian.
fn bytes(name: &str, recipe: &Recipe, dtype: &str) -> Vec<u8> {
    let count = recipe.shape.iter().product::<i64>() as usize;
    let values = weights::tensor(name, count, recipe.offset, recipe.scale).into_iter();
    match dtype {
        "F16" => values.flat_map(|value| f16::from_f32(value).to_le_bytes()).collect(),
        "BF16" => values.flat_map(|value| bf16::from_f32(value).to_le_bytes()).collect(),
        _ => values.flat_map(f32::to_le_bytes).collect(),
    }
}
