//! Runs a whole experiment: world, tokenizer, dense pre-training, then for every arm and seed upcycling, continued training, answers
//! and verdicts, and at the end the results and their page. Every stage is cached by content.

pub mod answers;
mod cost;
mod dense;
mod environment;
mod judge;
mod questions;
pub mod recipe;
pub mod results;
pub mod stages;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use coppice_models::device::DeviceChoice;
use coppice_models::fs;
use coppice_models::tokenizer::Tokenizer;
use coppice_models::{Checkpoint, Model};
use coppice_reports::Report;
use coppice_upcycle::train::{Resume, TokenStream, TrainConfig, Trainer};
use coppice_upcycle::world::{Question, World};
use serde_json::json;
use tch::{Device, Kind};

use self::answers::Asking;
use self::recipe::{ArmRecipe, Phase, Recipe};
use self::stages::{Finished, Stages};
use crate::common::open_device;
use crate::training;

/// An experiment under way.
pub struct Run {
    recipe: Recipe,
    folder: PathBuf,
    device: Device,
    stages: Stages,
    world: World,
    questions: Vec<Question>,
}

/// One trained model of the comparison.
#[derive(Debug, Clone)]
pub struct Trained {
    /// Index into the recipe's arms; none for the pre-trained model itself.
    pub arm: Option<usize>,
    /// Seed of its continued training.
    pub seed: u64,
    /// Its training stage.
    pub train: Finished,
    /// Its answers.
    pub answers: PathBuf,
    /// Its verdicts.
    pub verdicts: PathBuf,
}

impl Run {
    /// Prepares a run in `folder`; nothing is written yet.
    pub fn new(recipe: Recipe, folder: PathBuf, device: DeviceChoice) -> Result<Self> {
        recipe.check()?;
        let world = World::generate(recipe.world.clone())?;
        let questions = questions::choose(&world, &recipe.detect)?;
        Ok(Self { stages: Stages::new(&folder), recipe, folder, device: open_device(device)?, world, questions })
    }

    /// Runs every stage that is not there yet, then writes `results.json` and `report/index.html`.
    pub fn go(mut self) -> Result<(PathBuf, Report)> {
        std::fs::create_dir_all(&self.folder).with_context(|| format!("cannot create {}", self.folder.display()))?;
        let _lock = lock(&self.folder)?;
        environment::write(&self.folder, &self.recipe)?;
        let tokenizer = self.tokenizer()?;
        let base = self.pretrain(&tokenizer)?;
        let mut trained = vec![self.examine(None, 0, base.clone(), &tokenizer)?];
        for arm in 0..self.recipe.arms.len() {
            for seed in self.recipe.seeds.clone() {
                trained.push(self.arm(arm, seed, &base, &tokenizer)?);
            }
        }
        let costs = cost::measure(&mut self.stages, &self.recipe, self.device, &trained)?;
        let report =
            results::report(&self.recipe, &self.world, &self.folder, &self.stages, &trained, &costs, &self.tokenizer_of(&tokenizer)?)?;
        let page = results::write(&self.folder, &report)?;
        Ok((page, report))
    }

    /// The tokenizer, and the world as files beside it.
    fn tokenizer(&mut self) -> Result<Finished> {
        let world = &self.world;
        let told = self.stages.run("world", &json!({ "world": self.recipe.world }), |folder| Ok(world.write(folder).map(drop)?))?;
        let settings = &self.recipe.tokenizer;
        let inputs = json!({ "world": told.key, "tokenizer": settings });
        self.stages.run("tokenizer", &inputs, |folder| dense::train_tokenizer(world, settings, folder))
    }

    fn tokenizer_of(&self, tokenizer: &Finished) -> Result<Tokenizer> {
        Ok(Tokenizer::load(&tokenizer.folder)?)
    }

    fn pretrain(&mut self, tokenizer: &Finished) -> Result<Finished> {
        let (recipe, world, device) = (&self.recipe, &self.world, self.device);
        let inputs = json!({ "tokenizer": tokenizer.key, "model": recipe.model, "phase": recipe.pretrain });
        self.stages.run("pretrain", &inputs, |folder| {
            let model = dense::random_model(recipe, &tokenizer.folder, device)?;
            let passes = 0..recipe.pretrain.passes;
            train(model, &recipe.pretrain, None, world, passes, &tokenizer.folder, folder, "pretrain")
        })
    }

    /// One arm with one seed, from upcycling to verdicts.
    fn arm(&mut self, index: usize, seed: u64, base: &Finished, tokenizer: &Finished) -> Result<Trained> {
        let arm = self.recipe.arms[index].clone();
        let source = self.upcycle(&arm, seed, base)?;
        let (recipe, world, device) = (&self.recipe, &self.world, self.device);
        let inputs = json!({ "source": source.key, "phase": recipe.continued, "seed": seed });
        let name = format!("train-{}-{seed}", arm.name);
        let finished = self.stages.run(&name, &inputs, |folder| {
            let model = coppice_upcycle::train::trainer::load_for_training(&Checkpoint::open(source.folder.join("model"))?, device)?;
            let passes = recipe.pretrain.passes..recipe.world.passes;
            train(model, &recipe.continued, Some(seed), world, passes, &tokenizer.folder, folder, &name)
        })?;
        self.examine(Some(index), seed, finished, tokenizer)
    }

    fn upcycle(&mut self, arm: &ArmRecipe, seed: u64, base: &Finished) -> Result<Finished> {
        let Some(recipe) = &arm.upcycle else { return Ok(base.clone()) };
        let inputs = json!({ "base": base.key, "upcycle": recipe, "seed": seed });
        let name = format!("upcycle-{}-{seed}", arm.name);
        self.stages.run(&name, &inputs, |folder| dense::upcycle(recipe, seed, &base.folder.join("model"), folder))
    }

    /// Asks a trained model all questions and scores its answers.
    fn examine(&mut self, arm: Option<usize>, seed: u64, train: Finished, tokenizer: &Finished) -> Result<Trained> {
        let name = arm.map_or_else(|| "base".to_owned(), |arm| format!("{}-{seed}", self.recipe.arms[arm].name));
        let (recipe, world, questions, device) = (&self.recipe.detect, &self.world, &self.questions, self.device);
        let inputs = json!({ "train": train.key, "detect": recipe });
        let answers = self.stages.run(&format!("answers-{name}"), &inputs, |folder| {
            let checkpoint = Checkpoint::open(train.folder.join("model"))?;
            let model = Model::load(&checkpoint, Kind::Float, device)?;
            let tokenizer = Tokenizer::load(&tokenizer.folder)?;
            let end_of_text = dense::end_of_text(&checkpoint.config)?;
            Asking { model: &model, tokenizer: &tokenizer, world, recipe, end_of_text }.run(questions, folder)
        })?;
        let inputs = json!({ "answers": answers.key, "resamples": recipe.resamples });
        let verdicts = self.stages.run(&format!("verdicts-{name}"), &inputs, |folder| judge::run(&answers.folder, recipe, folder))?;
        Ok(Trained { arm, seed, train, answers: answers.folder, verdicts: verdicts.folder })
    }
}

/// Trains over some of the world's passes, resuming from the folder's checkpoints where there are any.
#[expect(clippy::too_many_arguments, reason = "a stage's inputs, each named once")]
fn train(
    model: Model,
    phase: &Phase,
    seed: Option<u64>,
    world: &World,
    passes: std::ops::Range<usize>,
    tokenizer: &Path,
    folder: &Path,
    what: &str,
) -> Result<()> {
    let tokens = TokenStream::new(dense::tokens(world, passes, tokenizer)?);
    let valid = TokenStream::new(dense::validation_tokens(world, tokenizer)?);
    let per_step = phase.train.tokens_per_step();
    let steps = if phase.train.steps == 0 { (tokens.ids().len() as u64 / per_step).max(1) } else { phase.train.steps };
    let config = TrainConfig { steps, seed: seed.unwrap_or(phase.train.seed), ..phase.train.clone() };
    let mut trainer = Trainer::new(model, config, tokens, Some(valid), folder)?.with_tokenizer_of(tokenizer);
    training::run(&mut trainer, Resume::Auto, what).map(drop)
}

/// Keeps a second process out of the run's folder.
fn lock(folder: &Path) -> Result<std::fs::File> {
    let path = folder.join(".lock");
    let file = std::fs::File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let taken = || format!("{} is being written by another coppice run; wait for it, or stop it", folder.display());
    file.try_lock().map_err(|_| anyhow::anyhow!(taken()))?;
    Ok(file)
}

/// Where results go: `runs/<name>` unless told otherwise.
pub fn folder_of(recipe: &Recipe, output: Option<&Path>) -> PathBuf {
    output.map_or_else(|| Path::new("runs").join(&recipe.name), Path::to_path_buf)
}

/// Writes text whole or not at all.
fn write_text(path: &Path, text: &str) -> Result<()> {
    Ok(fs::write_atomic(path, text.as_bytes())?)
}
