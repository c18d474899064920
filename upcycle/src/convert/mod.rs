//! Dense checkpoint in, mixture-of-experts checkpoint out, tensor by tensor: memory does not grow with the model.
//!
//! The output is a Hugging Face folder of `model_type` `stablelm_moe`. It is built beside its place and moved there whole, or not
//! at all; what an interruption leaves of it can be gone on with. See `options` for what can be asked, `plan` and `accounts` for what is
//! decided before writing, `shards` for where tensors lie, `crew` and `stream` for the data's way, `resume` for going on.

mod accounts;
mod budget;
mod crew;
pub mod error;
pub mod manifest;
pub mod options;
pub(crate) mod plan;
mod resume;
mod shards;
pub mod sources;
mod stream;
pub(crate) mod values;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use coppice_models::Config;
use coppice_models::fs::{Existing, LeftOver, StagedDir, check_free_space, write_atomic};
use coppice_models::{Checkpoint, remote_code};
use serde::Serialize;
use serde_json::{Value, json};

pub use error::{ConvertError, Result};
pub use manifest::{Account, MANIFEST, Manifest, SourceFacts};
pub use options::{LayerSelection, Options, RouterInit};
pub use sources::Sources;

use self::options::require;
use self::plan::{Plan, torch_name};
use self::resume::{Record, fingerprint};
use self::shards::Shard;
use self::stream::Stream;
use crate::methods::{self, Method};
use crate::writer::SafetensorsWriter;
use crate::{card, companions};

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
/// The same source, options and seed give the same bytes, in one go or in several, by any number of jobs. Peak memory is a few chunks and
/// mapped tensors a job, and at most 1 GiB of computed ones unless one is larger by itself.
///
/// # Errors
/// One sentence for options that cannot be followed, a source that is no dense model or holds NaN or infinity (the tensor is
/// named), a source tensor that would be lost, an output that exists, is written by another process or was begun otherwise, and a disk
/// without room. Soon after `interrupted` is raised, [`ConvertError::Paused`] where finished files are kept beside the output, else
/// [`ConvertError::Interrupted`]. In every case `output` is as it was before, and but for `Paused` nothing is left beside it.
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
/// As [`upcycle`], and [`ConvertError::Shape`] when the method makes a tensor of another shape than the target has.
pub fn upcycle_by(
    method: &dyn Method,
    sources: &Sources,
    options: &Options,
    output: &Path,
    progress: &mut dyn FnMut(Progress),
    interrupted: &AtomicBool,
) -> Result<Manifest> {
    let plan = Plan::new(sources, options, method)?;
    let accounts = accounts::accounts(&plan, sources, options, method)?;
    sources.all().iter().try_for_each(|source| keep_source(source, output))?;
    let existing = if options.overwrite { Existing::Replace } else { Existing::Refuse };
    let mut folder = StagedDir::open(output, existing)?;
    let mut record = Record::open(&folder, fingerprint(&plan, sources, options)?, options.resume)?;
    folder.keep(!record.files.is_empty());
    check_free_space(output, plan.bytes().saturating_sub(record.bytes()) + SLACK)?;
    folder.keep(false);
    let work = Work { plan: &plan, shards: plan.shards(options.max_shard_bytes), jobs: options.jobs };
    if let Err(error) = work.weights(sources, &mut record, folder.path(), progress, interrupted) {
        return Err(stop(error, &work, &record, &mut folder));
    }
    let manifest = manifest(&plan, sources.model(), options, record.files, accounts);
    write_rest(&work, sources.model(), &manifest, folder.path())?;
    folder.commit()?;
    Ok(manifest)
}

/// What an earlier conversion left beside an output.
pub fn left_over(output: &Path) -> LeftOver {
    StagedDir::left_over(output)
}

/// Keeps what an interrupted conversion has finished.
fn stop(error: ConvertError, work: &Work, record: &Record, folder: &mut StagedDir) -> ConvertError {
    if !matches!(error, ConvertError::Interrupted) || record.files.is_empty() {
        return error;
    }
    folder.keep(true);
    let paused = ConvertError::Paused { finished: record.files.len(), files: work.shards.len() };
    record.tidy(folder).err().unwrap_or(paused)
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
    let method = methods::find(&options.method)?;
    let plan = Plan::new(sources, options, method)?;
    accounts::accounts(&plan, sources, options, method)?;
    let layers = plan.config.moe.iter().flat_map(|moe| moe.layers.clone()).collect();
    Ok(Forecast { parameters: plan.parameters(), bytes: plan.bytes(), files: plan.shards(options.max_shard_bytes).len(), layers })
}

/// Refuses options that cannot be followed for a dense model of this configuration, before there is one.
///
/// # Errors
/// One sentence.
pub fn check(config: &Config, options: &Options) -> Result<()> {
    plan::check(config, options, methods::find(&options.method)?).map(drop)
}

/// Replacing a folder that holds the source would destroy the source.
fn keep_source(source: &Checkpoint, output: &Path) -> Result<()> {
    let (Ok(from), Ok(to)) = (source.folder.canonicalize(), output.canonicalize()) else { return Ok(()) };
    require(!from.starts_with(&to), || format!("{} holds the source, name another output", output.display()))
}

/// What is written, in which files, by how many at once.
struct Work<'a> {
    plan: &'a Plan,
    shards: Vec<Shard<'a>>,
    jobs: usize,
}

impl Work<'_> {
    /// Writes the weights files that `record` does not hold yet.
    fn weights(
        &self,
        sources: &Sources,
        record: &mut Record,
        folder: &Path,
        progress: &mut dyn FnMut(Progress),
        interrupted: &AtomicBool,
    ) -> Result<()> {
        let left: Vec<&Shard> = self.shards.iter().filter(|shard| !record.files.contains_key(&shard.name)).collect();
        let stream = Stream::new(sources, left.iter().flat_map(|shard| shard.steps.iter().copied()), interrupted);
        let total = self.plan.bytes();
        let mut written = total - left.iter().map(|shard| shard.bytes()).sum::<u64>();
        for shard in left {
            let file = SafetensorsWriter::create(&folder.join(&shard.name), &shard.headers())?;
            crew::write(shard, &stream, &file, self.jobs, &mut |part| {
                written += part.bytes;
                progress(Progress { tensor: &shard.steps[part.index].header.name, written, total });
            })?;
            record.add(folder, &shard.name, file.finish()?)?;
        }
        Ok(())
    }

    /// The index of several weights files; none where there is one.
    fn index(&self) -> Option<Value> {
        let homes = self.shards.iter().flat_map(|shard| shard.steps.iter().map(|step| (step.header.name.clone(), json!(shard.name))));
        let metadata = json!({"total_size": self.plan.bytes(), "total_parameters": self.plan.parameters()});
        (self.shards.len() > 1).then(|| json!({"metadata": metadata, "weight_map": homes.collect::<serde_json::Map<_, _>>()}))
    }
}

/// Writes everything beside the weights, the manifest last.
fn write_rest(work: &Work, source: &Checkpoint, manifest: &Manifest, folder: &Path) -> Result<()> {
    if let Some(index) = work.index() {
        write_json(&folder.join("model.safetensors.index.json"), &index)?;
    }
    companions::copy(&source.folder, folder).map_err(|(path, error)| ConvertError::io(path)(error))?;
    remote_code::write(folder)?;
    write_json(&folder.join("config.json"), &config_json(work.plan, source))?;
    card::write(folder, &work.plan.config, source, manifest)?;
    write_json(&folder.join(MANIFEST), &json!(manifest))?;
    Record::remove(folder)
}

fn config_json(plan: &Plan, source: &Checkpoint) -> Value {
    plan.config.to_json(torch_name(plan.steps.first().map_or(source.dtype(), |step| step.header.dtype)))
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    Ok(write_atomic(path, format!("{value:#}\n").as_bytes())?)
}

fn manifest(
    plan: &Plan,
    source: &Checkpoint,
    options: &Options,
    files: BTreeMap<String, u64>,
    mut accounts: Vec<BTreeMap<String, Account>>,
) -> Manifest {
    let branches = accounts.split_off(1.min(accounts.len()));
    Manifest {
        kind: "upcycled",
        version: env!("CARGO_PKG_VERSION"),
        options: options.clone(),
        layers: plan.config.moe.iter().flat_map(|moe| moe.layers.clone()).collect(),
        source: SourceFacts { folder: source.folder.clone(), bytes: source.file_bytes(), dtype: source.dtype() },
        parameters: plan.parameters(),
        files,
        tensors: accounts.pop().unwrap_or_default(),
        branches,
        made: plan.made(),
    }
}
