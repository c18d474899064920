//! `coppice train`: continued training of a dense or routed checkpoint, or training from random weights.

mod inherit;
mod plan;
mod ranks;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use coppice_models::device::DeviceChoice;
use coppice_models::distributed::Launch;
use coppice_models::init::{Cast, Random};
use coppice_models::{Checkpoint, Config, Model};
use coppice_upcycle::corpus::{open, tokenize_documents};
use coppice_upcycle::train::start::ExpertMoments;
use coppice_upcycle::train::trainer::load_for_training;
use coppice_upcycle::train::{Outcome as Trained, Precision, Resume, TokenStream, TrainConfig, Trainer};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::Device;

use crate::common::{Interrupted, Outcome, is_interruption, resolve_model};
use crate::{launch, memory, output, toml_file, training};

/// Trains as a recipe says: a dense or routed checkpoint, or random weights of a given config.json.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Recipe (TOML).
    recipe: PathBuf,
    /// Run folder: metrics.jsonl, checkpoints/, model/. Default: the recipe's.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Where to start: never (a run folder in use is refused), auto (the newest whole checkpoint), or a checkpoint folder.
    #[arg(long, default_value = "never", value_name = "HOW")]
    resume: String,
    /// Resume a checkpoint of another recipe or other tokens too, and say in what they differ.
    #[arg(long)]
    accept_changes: bool,
    /// Device: auto, cpu or cuda:N.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,
    /// Ranks to train by, on this machine. torchrun, mpirun and Slurm start them by themselves.
    #[arg(long, default_value_t = NonZeroUsize::MIN, value_name = "N")]
    nproc: NonZeroUsize,
    /// Say what would be trained, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Print the outcome as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrainRecipe {
    output: Option<PathBuf>,
    model: ModelSource,
    data: Data,
    train: TrainConfig,
}

/// A checkpoint to go on from, or a config.json to fill with random weights.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelSource {
    checkpoint: Option<String>,
    config: Option<PathBuf>,
    /// Folder of the tokenizer; default: the checkpoint's.
    tokenizer: Option<PathBuf>,
    /// What DeepSpeed kept of the dense model that the checkpoint is or grew from: a file, or the folder of all ranks' files.
    optimizer_state: Option<PathBuf>,
    /// What experts get of it: zero (the default) or copy.
    expert_moments: Option<ExpertMoments>,
    #[serde(default = "default_std")]
    init_std: f64,
    #[serde(default)]
    seed: u64,
}

fn default_std() -> f64 {
    0.02
}

/// Corpus files: .jsonl or .txt, plain or .zst.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    train: Vec<PathBuf>,
    #[serde(default)]
    valid: Vec<PathBuf>,
}

impl TrainArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        if self.nproc.get() > 1 {
            launch::refuse_within_a_rank()?;
        }
        let recipe: TrainRecipe = toml_file::read(&self.recipe)?;
        recipe.train.check()?;
        let folder =
            self.output.clone().or_else(|| recipe.output.clone()).context("name a run folder: --output DIR, or output in the recipe")?;
        let source = recipe.model.open()?;
        let tokenizer = recipe.model.tokenizer(&source)?;
        let inheritance = recipe.model.inheritance(&source)?;
        if self.nproc.get() > 1 && !self.dry_run {
            return launch::run(self.nproc.get(), launch::GRACE);
        }
        let (train, valid) = recipe.data.load(&tokenizer, source.config())?;
        let launch = Launch::from_env()?;
        let device = ranks::device(self.device, launch.as_ref())?;
        if self.dry_run {
            plan::tell(source.config(), &recipe.train, &train, self.nproc.get(), device, self.json)?;
            return Ok(Outcome::Done);
        }
        memory::refuse_too_large(source.config(), &recipe.train, device)?;
        let model = source.model(&recipe.model, recipe.train.precision, device)?;
        let ranks = ranks::join(launch, &recipe.train.parallel, device)?;
        let trainer = Trainer::among(ranks, model, recipe.train.clone(), train, valid, &folder)?.with_tokenizer_of(&tokenizer);
        let trainer = trainer.accepting_changes(self.accept_changes).with_measured_rate()?;
        let mut trainer = source.exact(trainer)?.with_inheritance(inheritance);
        let trained = training::run(&mut trainer, self.resume(), "train");
        if !trainer.leads() {
            return trained.map(|_| Outcome::Done);
        }
        self.finished(&trained.map_err(|error| if is_interruption(&error) { Interrupted::Saved.into() } else { error })?)
    }

    fn resume(&self) -> Resume {
        match self.resume.as_str() {
            "never" => Resume::Never,
            "auto" => Resume::Auto,
            path => Resume::From(PathBuf::from(path)),
        }
    }

    fn finished(&self, trained: &Trained) -> Result<Outcome> {
        let Trained::Finished { model, validation } = trained else { return Ok(Outcome::Done) };
        if self.json {
            output::json(&json!({ "model": model, "validation": validation }))?;
        } else {
            let told = validation.as_ref().map(|found| format!("validation loss {:.4}, perplexity {:.3}", found.loss, found.perplexity));
            output::line(format!("{}  {}", model.display(), told.unwrap_or_default()))?;
        }
        Ok(Outcome::Done)
    }
}

/// What the model is made from.
enum Source {
    Stored(Box<Checkpoint>),
    Fresh(Box<Config>),
}

impl ModelSource {
    fn open(&self) -> Result<Source> {
        match (&self.checkpoint, &self.config) {
            (Some(name), None) => Ok(Source::Stored(Box::new(Checkpoint::open(resolve_model(name)?)?))),
            (None, Some(path)) => {
                let folder = if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(Path::new(".")) };
                Ok(Source::Fresh(Box::new(Config::load(folder)?)))
            }
            _ => bail!("[model] needs either checkpoint (a folder or pulled ID) or config (a config.json for random weights)"),
        }
    }

    /// The folder that holds tokenizer.json.
    fn tokenizer(&self, source: &Source) -> Result<PathBuf> {
        let own = match source {
            Source::Stored(checkpoint) => Some(checkpoint.folder.clone()),
            Source::Fresh(_) => None,
        };
        self.tokenizer.clone().or(own).context("[model] with random weights needs tokenizer, a folder with a tokenizer.json")
    }
}

impl Source {
    fn config(&self) -> &Config {
        match self {
            Self::Stored(checkpoint) => &checkpoint.config,
            Self::Fresh(config) => config,
        }
    }

    fn model(&self, recipe: &ModelSource, precision: Precision, device: Device) -> Result<Model> {
        match self {
            Self::Stored(checkpoint) => Ok(load_for_training(checkpoint, precision, device)?),
            Self::Fresh(config) => {
                let random = Random { config, seed: recipe.seed, std: recipe.init_std, device };
                Ok(Model::new(&Cast { source: &random, kind: precision.parameters() }, config, device)?)
            }
        }
    }
}

impl Source {
    /// Gives the optimizer what the file knows better than the model does.
    fn exact(&self, trainer: Trainer) -> Result<Trainer> {
        match self {
            Self::Stored(checkpoint) => Ok(trainer.with_masters_of(checkpoint)?),
            Self::Fresh(_) => Ok(trainer),
        }
    }
}

impl Data {
    fn load(&self, folder: &Path, config: &Config) -> Result<(TokenStream, Option<TokenStream>)> {
        let path = folder.join("tokenizer.json");
        let tokenizer = tokenizers::Tokenizer::from_file(&path).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        let end = config.eos_token_ids.first().context("the model's config.json has no eos_token_id to end documents with")?;
        let end = u32::try_from(*end).context("eos_token_id is negative")?;
        let stream = |files: &[PathBuf]| -> Result<TokenStream> {
            let mut documents = Vec::new();
            for file in files {
                documents.push(open(file)?);
            }
            Ok(tokenize_documents(&tokenizer, documents.into_iter().flatten(), end)?.into())
        };
        let valid = if self.valid.is_empty() { None } else { Some(stream(&self.valid)?) };
        Ok((stream(&self.train)?, valid))
    }
}
