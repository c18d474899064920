//! The files of a merged checkpoint: weights in one or several, the index, and what does not belong to a dense model.

use std::collections::BTreeMap;
use std::path::Path;

use coppice_models::fs::write_atomic;
use serde_json::{Value, json};

use super::plan::{Merged, Plan};
use super::stream::Stream;
use crate::convert::{ConvertError, Result};
use crate::writer::{SafetensorsWriter, TensorHeader};

/// Code that only a routed checkpoint has.
const ROUTED_CODE: [&str; 2] = ["modeling_stablelm_moe.py", "configuration_stablelm_moe.py"];

/// Writes all weights files, and the index where there are several. Returns their sizes.
pub(super) fn write(plan: &Plan, stream: &mut Stream, largest: u64, folder: &Path) -> Result<BTreeMap<String, u64>> {
    let shards = shards(&plan.tensors, largest);
    let (mut files, mut homes) = (BTreeMap::new(), BTreeMap::new());
    for (index, tensors) in shards.iter().enumerate() {
        let name = name(index + 1, shards.len());
        files.insert(name.clone(), write_one(tensors, stream, &folder.join(&name))?);
        homes.extend(tensors.iter().map(|tensor| (tensor.header.name.as_str(), name.clone())));
    }
    if shards.len() > 1 {
        let metadata = json!({"total_size": plan.bytes(), "total_parameters": plan.parameters()});
        write_json(&folder.join("model.safetensors.index.json"), &json!({"metadata": metadata, "weight_map": homes}))?;
    }
    Ok(files)
}

fn write_one(tensors: &[Merged], stream: &mut Stream, path: &Path) -> Result<u64> {
    let headers: Vec<TensorHeader> = tensors.iter().map(|tensor| tensor.header.clone()).collect();
    let file = SafetensorsWriter::create(path, &headers)?;
    tensors.iter().enumerate().try_for_each(|(index, tensor)| stream.step(tensor, index, &file))?;
    file.finish()
}

/// The tensors of each file, none above `largest` bytes unless it holds one tensor.
pub(super) fn shards(tensors: &[Merged], largest: u64) -> Vec<&[Merged]> {
    let size = |tensor: &Merged| tensor.header.bytes() as u64;
    let mut room = tensors.first().map_or(0, |first| largest.saturating_sub(size(first)));
    let follows = |_: &Merged, next: &Merged| {
        let fits = size(next) <= room;
        room = if fits { room } else { largest }.saturating_sub(size(next));
        fits
    };
    tensors.chunk_by(follows).collect()
}

fn name(number: usize, count: usize) -> String {
    if count == 1 { "model.safetensors".into() } else { format!("model-{number:05}-of-{count:05}.safetensors") }
}

/// Writes indented JSON.
pub(super) fn write_json(path: &Path, value: &Value) -> Result<()> {
    Ok(write_atomic(path, format!("{value:#}\n").as_bytes())?)
}

/// Removes what came along with the companions and only runs routed models.
pub(super) fn remove_routed_code(folder: &Path) -> Result<()> {
    let there = ROUTED_CODE.iter().map(|name| folder.join(name)).filter(|path| path.is_file());
    there.into_iter().try_for_each(|path| std::fs::remove_file(&path).map_err(ConvertError::io(path)))
}
