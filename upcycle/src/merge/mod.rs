//! Mixture of experts in, plain dense StableLM 2 out: the experts of a layer are averaged into one MLP that every reader knows.
//!
//! `N = E G` routed experts are `E` replicas of an MLP in `G` parts: expert `i` is part `i mod G` of replica `i div G` (arXiv 2410.07524).
//! Each part is averaged over the replicas, the parts are put side by side, and the down projection is scaled by what a part's experts
//! weigh together on average. Where all replicas are equal the result computes what the mixture does. Merging after training is the
//! sparse-to-dense direction of "One Student Knows All Experts Know" (arXiv 2201.10890), without the distillation that follows there.

mod files;
mod layer;
mod manifest;
mod plan;
mod stream;
mod words;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use coppice_models::Checkpoint;
use coppice_models::fs::{AtomicDir, Existing, check_free_space};
use safetensors::Dtype;
use serde::Serialize;
use serde_json::json;

pub use self::manifest::{Forecast, LayerMerge, Manifest};
use self::plan::Plan;
use self::stream::Stream;
use crate::companions;
use crate::convert::options::{MAX_SHARD_BYTES, require};
use crate::convert::{ConvertError, MANIFEST, Progress, Result};

/// How much each replica counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// All alike.
    #[default]
    Average,
    /// By the share of assignments each expert got on a text, `[routed layers][N]`.
    Load(Vec<Vec<f64>>),
}

/// The choices of one merge.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Options {
    /// How much each replica counts.
    pub weights: Weights,
    /// Element type of the output; none keeps that of each source tensor.
    pub dtype: Option<Dtype>,
    /// Largest weights file in bytes of tensors; above it the output has an index.
    pub max_shard_bytes: u64,
    /// Whether an existing output folder is replaced.
    #[serde(skip)]
    pub overwrite: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { weights: Weights::Average, dtype: None, max_shard_bytes: MAX_SHARD_BYTES, overwrite: false }
    }
}

/// Bytes left for headers, the configuration, the index and the manifest when the disk's room is checked.
const SLACK: u64 = 16 << 20;

/// Merges the experts of `source` into the dense checkpoint `output`, tensor by tensor.
///
/// # Errors
/// One sentence for a dense source, experts that are no whole replicas, a shared expert with a learned gate, loads of another shape, NaN or
/// infinity (the tensor is named), an output that exists, a disk without room, and [`ConvertError::Interrupted`] soon after
/// `interrupted` is raised. In every case `output` is as it was before.
pub fn merge_experts(
    source: &Checkpoint,
    options: &Options,
    output: &Path,
    progress: &mut dyn FnMut(Progress),
    interrupted: &AtomicBool,
) -> Result<Manifest> {
    let plan = Plan::new(source, options)?;
    keep(source, output)?;
    let folder = AtomicDir::create(output, if options.overwrite { Existing::Replace } else { Existing::Refuse })?;
    check_free_space(output, plan.bytes() + SLACK)?;
    let mut stream = Stream::new(source, &plan, progress, interrupted);
    let files = files::write(&plan, &mut stream, options.max_shard_bytes, folder.path())?;
    companions::copy(&source.folder, folder.path()).map_err(|(path, error)| ConvertError::io(path)(error))?;
    files::remove_routed_code(folder.path())?;
    files::write_json(&folder.path().join("config.json"), &plan.config_json())?;
    let manifest = Manifest::new(&plan, source, options, files);
    files::write_json(&folder.path().join(MANIFEST), &json!(manifest))?;
    folder.commit()?;
    Ok(manifest)
}

/// Checks everything and says what [`merge_experts`] would write, without writing.
///
/// # Errors
/// As [`merge_experts`], for a source that cannot be merged so.
pub fn forecast(source: &Checkpoint, options: &Options) -> Result<Forecast> {
    let plan = Plan::new(source, options)?;
    Ok(Forecast {
        parameters: plan.parameters(),
        bytes: plan.bytes(),
        files: files::shards(&plan.tensors, options.max_shard_bytes).len(),
        intermediate_size: plan.config.intermediate_size,
        layers: plan.layers.clone(),
        notes: plan.notes.clone(),
    })
}

/// Replacing a folder that holds the source would destroy the source.
fn keep(source: &Checkpoint, output: &Path) -> Result<()> {
    let (Ok(from), Ok(to)) = (source.folder.canonicalize(), output.canonicalize()) else { return Ok(()) };
    require(!from.starts_with(&to), || format!("{} holds the source, name another output", output.display()))
}
