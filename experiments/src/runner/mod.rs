//! Runs a whole experiment: world, tokenizer, dense pre-training, then for every arm and seed upcycling, continued training, answers
//! and verdicts, and at the end the results and their page. Every stage is cached by content.

pub mod answers;
mod cost;
mod dataset;
mod detector;
mod environment;
mod judge;
mod lab;
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
use coppice_upcycle::world::{Question, World};
use serde_json::json;
use tch::{Device, Kind};

use self::answers::Asking;
use self::dataset::{Dataset, Text};
use self::lab::{Grown, Lab};
use self::recipe::{DetectRecipe, DetectorRecipe, Recipe};
use self::stages::{Finished, Stages};
use crate::answering::Answering;
use crate::common::open_device;
use crate::output;

/// An experiment under way.
pub struct Run {
    recipe: Recipe,
    folder: PathBuf,
    device: Device,
    stages: Stages,
    world: Dataset,
    questions: Vec<Question>,
    text: Option<Dataset>,
}

/// One trained model of the comparison.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The model.
    pub grown: Grown,
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
        let (text, world) = (text(&recipe)?, Dataset::World(Box::new(world)));
        Ok(Self { stages: Stages::new(&folder), recipe, folder, device: open_device(device)?, world, questions, text })
    }

    /// Runs every stage that is not there yet, then writes `results.json` and `report/index.html`.
    pub fn go(mut self) -> Result<(PathBuf, Report)> {
        std::fs::create_dir_all(&self.folder).with_context(|| format!("cannot create {}", self.folder.display()))?;
        let _lock = lock(&self.folder)?;
        environment::write(&self.folder, &self.recipe)?;
        let lab = Lab { recipe: &self.recipe, data: &self.world, device: self.device };
        let tokenizer = lab.tokenizer(&mut self.stages)?;
        let grown = grow(&lab, &mut self.stages, &tokenizer)?;
        let examiner = Examiner { recipe: &self.recipe.detect, world: &self.world, questions: &self.questions, device: self.device };
        let detector =
            self.recipe.detector.as_ref().map(|recipe| examiner.detect(&mut self.stages, recipe, &grown[0], &tokenizer)).transpose()?;
        let examine = |grown: Grown| examiner.examine(&mut self.stages, &self.recipe, grown, &tokenizer);
        let trained = grown.into_iter().map(examine).collect::<Result<Vec<_>>>()?;
        let on_text = match &self.text {
            Some(text) => on_text(&Lab { recipe: &self.recipe, data: text, device: self.device }, &mut self.stages)?,
            None => Vec::new(),
        };
        let costs = cost::measure(&mut self.stages, &self.recipe, self.device, &trained)?;
        let found = results::Found { trained: &trained, on_text: &on_text, costs: &costs, detector: detector.as_deref() };
        let Dataset::World(world) = &self.world else { anyhow::bail!("a run without a world") };
        let report = results::report(&self.recipe, world, &self.folder, &self.stages, &found, &Tokenizer::load(&tokenizer.folder)?)?;
        let page = results::write(&self.folder, &report)?;
        Ok((page, report))
    }
}

/// The text a recipe asks for; where its files are not there the run goes on without it and says so.
fn text(recipe: &Recipe) -> Result<Option<Dataset>> {
    let Some(text) = &recipe.text else { return Ok(None) };
    if let Some(path) = text.missing() {
        output::say(format!("{} is not there: the recipe's real text is LEFT OUT (set COPPICE_DATA)", path.display()));
        return Ok(None);
    }
    Ok(Some(Dataset::Text(Text::read(text)?)))
}

/// The pre-trained model, and every arm with every seed.
fn grow(lab: &Lab, stages: &mut Stages, tokenizer: &Finished) -> Result<Vec<Grown>> {
    let base = lab.pretrain(stages, tokenizer)?;
    let mut grown = vec![Grown::base(base.clone())];
    for arm in 0..lab.recipe.arms.len() {
        for &seed in &lab.recipe.seeds {
            grown.push(lab.arm(stages, arm, seed, &base, tokenizer)?);
        }
    }
    Ok(grown)
}

fn on_text(lab: &Lab, stages: &mut Stages) -> Result<Vec<Grown>> {
    let tokenizer = lab.tokenizer(stages)?;
    grow(lab, stages, &tokenizer)
}

/// Asks trained models of the world all questions.
struct Examiner<'a> {
    recipe: &'a DetectRecipe,
    world: &'a Dataset,
    questions: &'a [Question],
    device: Device,
}

impl Examiner<'_> {
    /// Asks one model and scores its answers.
    fn examine(&self, stages: &mut Stages, recipe: &Recipe, grown: Grown, tokenizer: &Finished) -> Result<Trained> {
        let name = grown.arm.map_or_else(|| "base".to_owned(), |arm| format!("{}-{}", recipe.arms[arm].name, grown.seed));
        let inputs = json!({ "train": grown.train.key, "detect": self.recipe });
        let answers = stages.run(&format!("answers-{name}"), &inputs, |folder| self.ask(&grown, tokenizer, folder))?;
        let inputs = json!({ "answers": answers.key, "resamples": self.recipe.resamples });
        let verdicts = stages.run(&format!("verdicts-{name}"), &inputs, |folder| judge::run(&answers.folder, self.recipe, folder))?;
        Ok(Trained { grown, answers: answers.folder, verdicts: verdicts.folder })
    }

    fn ask(&self, grown: &Grown, tokenizer: &Finished, folder: &Path) -> Result<()> {
        let (model, tokenizer) = self.load(grown, tokenizer)?;
        let end_of_text = model.config.eos_token_ids.first().copied().context("the model has no end-of-text id")?;
        Asking { model: &model, tokenizer: &tokenizer, world: self.world()?, recipe: self.recipe, end_of_text }.run(self.questions, folder)
    }

    /// Takes one detector through its whole life on a model; returns the folder of its findings.
    fn detect(&self, stages: &mut Stages, recipe: &DetectorRecipe, grown: &Grown, tokenizer: &Finished) -> Result<PathBuf> {
        let asked =
            json!({ "wordings": recipe.wordings, "layers": recipe.hidden_layers, "fit_share": recipe.fit_share, "seed": recipe.seed });
        let inputs = json!({ "train": grown.train.key, "detect": self.recipe, "detector": asked });
        let answers = stages.run("detector-answers", &inputs, |folder| {
            let (model, tokenizer) = self.load(grown, tokenizer)?;
            let settings = detector::settings(self.recipe, recipe, &model.config);
            let answering = Answering { model: &model, tokenizer: Some(&tokenizer), chat: None, settings };
            detector::ask(&answering, self.world()?, recipe, folder)
        })?;
        let resamples = self.recipe.resamples;
        let judge = |folder: &Path| detector::judge(&answers.folder, recipe, resamples, folder);
        Ok(stages.run("detector", &json!({ "answers": answers.key, "detector": recipe }), judge)?.folder)
    }

    fn world(&self) -> Result<&World> {
        let Dataset::World(world) = self.world else { anyhow::bail!("only a world has questions") };
        Ok(world)
    }

    fn load(&self, grown: &Grown, tokenizer: &Finished) -> Result<(Model, Tokenizer)> {
        let checkpoint = Checkpoint::open(grown.train.folder.join("model"))?;
        Ok((Model::load(&checkpoint, Kind::Float, self.device)?, Tokenizer::load(&tokenizer.folder)?))
    }
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
