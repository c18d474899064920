//! The models of one dataset: tokenizer, dense pre-training, and for every arm and seed conversion, continued training and a look at
//! the experts. Every step is a stage, cached by content.

mod convert;

use std::path::Path;

use anyhow::{Context, Result};
use coppice_models::fs::write_atomic;
use coppice_models::init::{Cast, Random};
use coppice_models::tokenizer::Tokenizer;
use coppice_models::{Checkpoint, Config, Model};
use coppice_upcycle::inspect::report::ExpertReport;
use coppice_upcycle::inspect::{self, BATCH_TOKENS, Settings, Subject};
use coppice_upcycle::tokenizer_training::{END_OF_TEXT, train_tokenizer, write_tokenizer};
use coppice_upcycle::train::trainer::load_for_training;
use coppice_upcycle::train::{Resume, TokenStream, TrainConfig, Trainer};
use serde_json::json;
use tch::{Device, Kind};

use super::dataset::{Dataset, Span, load_tokenizer};
use super::recipe::{ArmRecipe, Recipe};
use super::stages::{Finished, Stages};
use crate::common::interrupted;
use crate::memory::refuse_too_large;
use crate::training;

/// The file of a look at the experts.
pub const EXPERTS: &str = "experts.json";

/// Makes the models of one dataset.
pub struct Lab<'a> {
    /// What is made.
    pub recipe: &'a Recipe,
    /// What it learns from.
    pub data: &'a Dataset,
    /// Where it is computed.
    pub device: Device,
}

/// One trained model of an arm.
#[derive(Debug, Clone)]
pub struct Grown {
    /// Index into the recipe's arms; none for the pre-trained model itself.
    pub arm: Option<usize>,
    /// Seed of its continued training.
    pub seed: u64,
    /// Its conversion, where it was upcycled.
    pub converted: Option<Finished>,
    /// Its training stage.
    pub train: Finished,
    /// The look at its experts, where it has some.
    pub experts: Option<Finished>,
}

impl Grown {
    /// The pre-trained model.
    pub fn base(train: Finished) -> Self {
        Self { arm: None, seed: 0, converted: None, train, experts: None }
    }
}

impl Lab<'_> {
    /// The name of a stage: the world's are plain, others carry the dataset's name.
    fn stage(&self, name: &str) -> String {
        if matches!(self.data, Dataset::World(_)) { name.to_owned() } else { format!("{}-{name}", self.data.name()) }
    }

    /// Trains the tokenizer; the world is written as files before it.
    pub fn tokenizer(&self, stages: &mut Stages) -> Result<Finished> {
        let mut key = json!(null);
        if let Dataset::World(world) = self.data {
            let inputs = json!({ "world": self.recipe.world });
            key = json!(stages.run("world", &inputs, |folder| Ok(world.write(folder).map(drop)?))?.key);
        }
        let settings = match self.recipe.text.as_ref().filter(|_| matches!(self.data, Dataset::Text(_))) {
            Some(text) => &text.tokenizer,
            None => &self.recipe.tokenizer,
        };
        let key = if key.is_null() { self.data.key(self.recipe) } else { key };
        let inputs = json!({ "world": key, "tokenizer": settings });
        stages.run(&self.stage("tokenizer"), &inputs, |folder| {
            let tokenizer = train_tokenizer(self.data.tokenizer_documents().into_iter(), settings)?;
            Ok(write_tokenizer(&tokenizer, settings, folder)?)
        })
    }

    /// Trains the dense model all arms start from.
    pub fn pretrain(&self, stages: &mut Stages, tokenizer: &Finished) -> Result<Finished> {
        let recipe = self.recipe;
        let inputs = json!({ "tokenizer": tokenizer.key, "model": recipe.model, "phase": recipe.pretrain });
        let name = self.stage("pretrain");
        stages.run(&name, &inputs, |folder| {
            let model = self.random(&self.config(tokenizer)?, 0)?;
            self.train(model, recipe.pretrain.train.clone(), Span::Pretrain, tokenizer, folder, &name)
        })
    }

    /// One arm with one seed: conversion, training, a look at the experts.
    pub fn arm(&self, stages: &mut Stages, index: usize, seed: u64, base: &Finished, tokenizer: &Finished) -> Result<Grown> {
        let arm = &self.recipe.arms[index];
        let (converted, train) = if arm.from_scratch {
            (None, self.train_from_scratch(stages, arm, seed, tokenizer)?)
        } else {
            let converted = self.convert(stages, arm, seed, base, tokenizer)?;
            let train = self.continued(stages, arm, seed, converted.as_ref().unwrap_or(base), tokenizer)?;
            (converted, train)
        };
        let grown = Grown { arm: Some(index), seed, converted, train, experts: None };
        let experts = if arm.upcycle.is_some() { Some(self.look(stages, arm, &grown, base, tokenizer)?) } else { None };
        Ok(Grown { experts, ..grown })
    }

    fn continued(&self, stages: &mut Stages, arm: &ArmRecipe, seed: u64, source: &Finished, tokenizer: &Finished) -> Result<Finished> {
        let config = TrainConfig { seed, ..arm.train(&self.recipe.continued.train) };
        let branches = arm.upcycle.as_ref().and_then(|upcycle| upcycle.branches);
        let span = branches.map_or(Span::Continue, Span::AfterBranches);
        let inputs = json!({ "source": source.key, "phase": config, "passes": self.recipe.continued.passes, "branches": branches });
        let name = self.stage(&format!("train-{}-{seed}", arm.name));
        stages.run(&name, &inputs, |folder| {
            let model = load_for_training(&Checkpoint::open(source.folder.join("model"))?, config.precision, self.device)?;
            self.train(model, config, span, tokenizer, folder, &name)
        })
    }

    /// A routed model from a random start, on the tokens of both phases, with the schedule of the pre-training.
    fn train_from_scratch(&self, stages: &mut Stages, arm: &ArmRecipe, seed: u64, tokenizer: &Finished) -> Result<Finished> {
        let upcycle = arm.upcycle.as_ref().context("an arm from scratch needs experts")?;
        let recipe = self.recipe;
        let losses = arm.train(&recipe.continued.train);
        let config = TrainConfig { seed, losses: losses.losses, routing: losses.routing, ..recipe.pretrain.train.clone() };
        let inputs = json!({ "tokenizer": tokenizer.key, "model": recipe.model, "upcycle": upcycle, "phase": config,
                             "passes": recipe.pretrain.passes + recipe.continued.passes, "data": self.data.key(recipe) });
        let name = self.stage(&format!("train-{}-{seed}", arm.name));
        stages.run(&name, &inputs, |folder| {
            let dense = self.config(tokenizer)?;
            let moe = upcycle.experts(dense.num_hidden_layers, dense.intermediate_size)?;
            let place = recipe.seeds.iter().position(|&known| known == seed).unwrap_or_default();
            let model = self.random(&Config { moe: Some(moe), ..dense }, place as u64)?;
            self.train(model, config, Span::Whole, tokenizer, folder, &name)
        })
    }

    /// Measures what the experts became, on the held-out documents: against what they were after the conversion, and against the dense
    /// model.
    fn look(&self, stages: &mut Stages, arm: &ArmRecipe, grown: &Grown, base: &Finished, tokenizer: &Finished) -> Result<Finished> {
        let name = self.stage(&format!("experts-{}-{}", arm.name, grown.seed));
        let before = grown.converted.as_ref();
        let inputs = json!({ "train": grown.train.key, "converted": before.map(|stage| &stage.key), "base": base.key, "label": arm.label });
        stages.run(&name, &inputs, |folder| {
            let load = |stage: &Finished| -> Result<Model> {
                Ok(Model::load(&Checkpoint::open(stage.folder.join("model"))?, Kind::Float, self.device)?)
            };
            let (model, reference) = (load(&grown.train)?, before.map(load).transpose()?);
            let dense = if before.is_some() { Some(Checkpoint::open(base.folder.join("model"))?) } else { None };
            let subject = Subject { model: &model, reference: reference.as_ref(), dense: dense.as_ref() };
            let report = self.inspect(&subject, arm, grown, tokenizer)?;
            Ok(write_atomic(folder.join(EXPERTS), serde_json::to_string(&report)?.as_bytes())?)
        })
    }

    fn inspect(&self, subject: &Subject, arm: &ArmRecipe, grown: &Grown, tokenizer: &Finished) -> Result<ExpertReport> {
        let names = Tokenizer::load(&tokenizer.folder)?;
        let token = |id: u32| names.pieces(&[id]).ok().and_then(|mut pieces| pieces.pop()).unwrap_or_default();
        let text = format!("held-out documents of the {}; saturation is against the routing right after the conversion", self.data.name());
        let settings = Settings { name: arm.name.clone(), text, batch_tokens: BATCH_TOKENS, token: &token };
        let documents = self.data.validation_documents(&tokenizer.folder)?;
        let mut report = inspect::inspect(subject, &documents, &settings, &mut |_, _| {}, interrupted())?;
        (report.label, report.seed) = (arm.label.clone(), grown.seed);
        report.over_training = inspect::trend::read(&grown.train.folder.join("metrics.jsonl"))?;
        Ok(report)
    }

    /// The dense model's configuration.
    fn config(&self, tokenizer: &Finished) -> Result<Config> {
        let tokenizer = load_tokenizer(&tokenizer.folder)?;
        let end = tokenizer.token_to_id(END_OF_TEXT).with_context(|| format!("the tokenizer lacks {END_OF_TEXT}"))?;
        self.recipe.config(tokenizer.get_vocab_size(true) as i64, i64::from(end))
    }

    /// A model before any training; `shift` tells the starts of several seeds apart, 0 is the dense model's own.
    fn random(&self, config: &Config, shift: u64) -> Result<Model> {
        refuse_too_large(config, &self.recipe.pretrain.train, self.device)?;
        let (seed, std) = (self.recipe.model.seed + shift, self.recipe.model.init_std);
        let random = Random { config, seed, std, device: self.device };
        let kind = self.recipe.pretrain.train.precision.parameters();
        Ok(Model::new(&Cast { source: &random, kind }, config, self.device)?)
    }

    /// Trains over a stretch, resuming from the folder's checkpoints where there are any.
    fn train(&self, model: Model, config: TrainConfig, span: Span, tokenizer: &Finished, folder: &Path, what: &str) -> Result<()> {
        let tokens = TokenStream::from(self.data.tokens(span, self.recipe, &tokenizer.folder)?);
        let valid = TokenStream::from(self.data.validation_tokens(&tokenizer.folder)?);
        let once = (tokens.ids().len() as u64 / config.tokens_per_step()).max(1);
        let mut config = TrainConfig { steps: if config.steps == 0 { once } else { config.steps }, ..config };
        if matches!(span, Span::Branch(..)) {
            config.schedule.warmup_steps = config.schedule.warmup_steps.min(config.steps); // a branch sees a part of the phase
        }
        let mut trainer = Trainer::new(model, config, tokens, Some(valid), folder)?.with_tokenizer_of(&tokenizer.folder);
        training::run(&mut trainer, Resume::Auto, what).map(drop)
    }
}
