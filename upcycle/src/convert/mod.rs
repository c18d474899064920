//! Dense checkpoint in, mixture-of-experts checkpoint out, tensor by tensor: memory does not grow with the model.
//!
//! The output is a Hugging Face folder of `model_type` `stablelm_moe`. It is built beside its place and moved there whole, or not
//! at all. See `options` for what can be asked, `plan` for what is decided before writing, `stream` for the data's way.

pub mod error;
pub mod manifest;
pub mod options;
pub(crate) mod plan;
pub mod sources;
mod stream;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use coppice_models::Checkpoint;
use coppice_models::fs::{AtomicDir, Existing, check_free_space, write_atomic};
use serde::Serialize;
use serde_json::{Value, json};

pub use error::{ConvertError, Result};
pub use manifest::{Account, MANIFEST, Manifest, SourceFacts};
pub use options::{LayerSelection, Options, RouterInit};
pub use sources::Sources;

use self::options::require;
use self::plan::{Plan, Step, torch_name};
use self::stream::Stream;
use crate::companions;
use crate::methods::{self, Method};
use crate::writer::{SafetensorsWriter, TensorHeader};

/// How far a conversion is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The tensor being written.
    pub tensor: &'a str,
    /// Bytes of tensors written.
    pub written: u64,
    /// Bytes of tensors in all.
    pub total: u64,
}

/// Bytes left for headers, the configuration, the index and the manifest when the disk's room is checked.
const SLACK: u64 = 16 << 20;

/// Converts a dense checkpoint by the method and choices of `options` into the folder `output`.
///
/// The same source, options and seed give the same bytes. Peak memory is a few chunks and the mapped MLP of one layer.
///
/// # Errors
/// One sentence for options that cannot be followed, a source that is no dense model or holds NaN or infinity (the tensor is
/// named), an output that exists, a disk without room, and [`ConvertError::Interrupted`] soon after `interrupted` is raised.
/// In every case `output` is as it was before.
pub fn upcycle(
    sources: &Sources,
    options: &Options,
    output: &Path,
    progress: &mut dyn FnMut(Progress),
    interrupted: &AtomicBool,
) -> Result<Manifest> {
    upcycle_by(methods::find(&options.method)?, sources, options, output, progress, interrupted)
}

/// [`upcycle`] by a method of the caller's own, registered or not; `options.method` only names it in the manifest.
///
/// # Errors
/// As [`upcycle`], and [`ConvertError::Length`] when the method derives a tensor of another size than the target has.
pub fn upcycle_by(
    method: &dyn Method,
    sources: &Sources,
    options: &Options,
    output: &Path,
    progress: &mut dyn FnMut(Progress),
    interrupted: &AtomicBool,
) -> Result<Manifest> {
    let plan = Plan::new(sources, options, method)?;
    sources.all().iter().try_for_each(|source| keep_source(source, output))?;
    let source = sources.model();
    let existing = if options.overwrite { Existing::Replace } else { Existing::Refuse };
    let folder = AtomicDir::create(output, existing)?;
    check_free_space(output, plan.bytes() + SLACK)?;
    let stream = Stream::new(sources, &plan, progress, interrupted);
    let files = write_weights(&plan, stream, options.max_shard_bytes, folder.path())?;
    companions::copy(&source.folder, folder.path()).map_err(|(path, error)| ConvertError::io(path)(error))?;
    write_json(&folder.path().join("config.json"), &config_json(&plan, source))?;
    let manifest = manifest(&plan, source, options, files);
    write_json(&folder.path().join(MANIFEST), &json!(manifest))?;
    folder.commit()?;
    Ok(manifest)
}

/// What a conversion would write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// Weights in the result.
    pub parameters: u64,
    /// Bytes of tensors in the result.
    pub bytes: u64,
    /// Files they are split over.
    pub files: usize,
    /// Indices of the converted layers.
    pub layers: Vec<usize>,
}

/// Checks the options against the source and says what [`upcycle`] would write, without writing.
///
/// # Errors
/// As [`upcycle`], for options that cannot be followed and a source that is no dense model.
pub fn forecast(sources: &Sources, options: &Options) -> Result<Forecast> {
    let plan = Plan::new(sources, options, methods::find(&options.method)?)?;
    let layers = plan.config.moe.iter().flat_map(|moe| moe.layers.clone()).collect();
    Ok(Forecast { parameters: plan.parameters(), bytes: plan.bytes(), files: plan.shards(options.max_shard_bytes).len(), layers })
}

/// Replacing a folder that holds the source would destroy the source.
fn keep_source(source: &Checkpoint, output: &Path) -> Result<()> {
    let (Ok(from), Ok(to)) = (source.folder.canonicalize(), output.canonicalize()) else { return Ok(()) };
    require(!from.starts_with(&to), || format!("{} holds the source, name another output", output.display()))
}

/// Writes all weights files, and the index where there are several. Returns their sizes.
fn write_weights<'a>(plan: &'a Plan, mut stream: Stream<'a>, largest: u64, folder: &Path) -> Result<BTreeMap<String, u64>> {
    let shards = plan.shards(largest);
    let (mut files, mut homes) = (BTreeMap::new(), BTreeMap::new());
    for (index, steps) in shards.iter().enumerate() {
        let name = shard_name(index + 1, shards.len());
        files.insert(name.clone(), write_shard(steps, &mut stream, &folder.join(&name))?);
        homes.extend(steps.iter().map(|step| (step.header.name.as_str(), name.clone())));
    }
    if shards.len() > 1 {
        let metadata = json!({"total_size": plan.bytes(), "total_parameters": plan.parameters()});
        let index = json!({"metadata": metadata, "weight_map": homes});
        write_json(&folder.join("model.safetensors.index.json"), &index)?;
    }
    Ok(files)
}

fn write_shard<'a>(steps: &'a [Step], stream: &mut Stream<'a>, path: &Path) -> Result<u64> {
    let headers: Vec<TensorHeader> = steps.iter().map(|step| step.header.clone()).collect();
    let mut file = SafetensorsWriter::create(path, &headers)?;
    steps.iter().try_for_each(|step| stream.step(step, &mut file))?;
    file.finish()
}

fn shard_name(number: usize, count: usize) -> String {
    if count == 1 { "model.safetensors".into() } else { format!("model-{number:05}-of-{count:05}.safetensors") }
}

fn config_json(plan: &Plan, source: &Checkpoint) -> Value {
    plan.config.to_json(torch_name(plan.steps.first().map_or(source.dtype(), |step| step.header.dtype)))
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    Ok(write_atomic(path, format!("{value:#}\n").as_bytes())?)
}

fn manifest(plan: &Plan, source: &Checkpoint, options: &Options, files: BTreeMap<String, u64>) -> Manifest {
    Manifest {
        kind: "upcycled",
        version: env!("CARGO_PKG_VERSION"),
        options: options.clone(),
        layers: plan.config.moe.iter().flat_map(|moe| moe.layers.clone()).collect(),
        source: SourceFacts { folder: source.folder.clone(), bytes: source.file_bytes(), dtype: source.dtype() },
        parameters: plan.parameters(),
        files,
        tensors: plan.accounts(source),
        made: plan.made(),
    }
}
