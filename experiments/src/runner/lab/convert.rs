//! The conversion of an arm: its branches, the text its routers start from, the upcycled model and the step-0 report beside it.

use std::path::Path;

use anyhow::Result;
use coppice_models::Checkpoint;
use coppice_models::fs::write_atomic;
use coppice_upcycle::card;
use coppice_upcycle::convert::options::{ExpertPrompts, RouterInit};
use coppice_upcycle::convert::{ConvertError, Options, Sources, upcycle};
use coppice_upcycle::step0::{Probe, compare};
use coppice_upcycle::train::TrainConfig;
use coppice_upcycle::train::trainer::load_for_training;
use serde_json::json;

use super::Lab;
use crate::common::{Interrupted, interrupted};
use crate::runner::dataset::{Span, load_tokenizer};
use crate::runner::recipe::{ArmRecipe, Branches, UpcycleRecipe};
use crate::runner::stages::{Finished, Stages};

/// Held-out tokens the step-0 report is made on, in sequences of [`LENGTH`].
const PROBE: usize = 4096;
const LENGTH: usize = 256;
/// Tokens whose hidden states are clustered.
const SAMPLE: usize = 16_384;
/// Prompts of each expert, and tokens of each.
const PROMPTS: usize = 8;
const PROMPT: usize = 64;

impl Lab<'_> {
    /// Upcycles the pre-trained model, or its branches, for one arm; none for the dense control.
    pub(super) fn convert(
        &self,
        stages: &mut Stages,
        arm: &ArmRecipe,
        seed: u64,
        base: &Finished,
        tokenizer: &Finished,
    ) -> Result<Option<Finished>> {
        let Some(recipe) = &arm.upcycle else { return Ok(None) };
        let branches = match recipe.branches {
            Some(branches) => self.branches(stages, arm, branches, seed, base, tokenizer)?,
            None => Vec::new(),
        };
        let keys: Vec<&str> = branches.iter().map(|branch| branch.key.as_str()).collect();
        let inputs = json!({ "base": base.key, "branches": keys, "upcycle": recipe, "seed": seed });
        let name = self.stage(&format!("upcycle-{}-{seed}", arm.name));
        stages.run(&name, &inputs, |folder| self.upcycle(recipe, seed, base, &branches, tokenizer, folder)).map(Some)
    }

    /// Trains the branches, each on its part of the first documents of the continuation.
    fn branches(
        &self,
        stages: &mut Stages,
        arm: &ArmRecipe,
        branches: Branches,
        seed: u64,
        base: &Finished,
        tokenizer: &Finished,
    ) -> Result<Vec<Finished>> {
        let config = TrainConfig { seed, ..self.recipe.continued.train.clone() };
        let train = |index: usize| {
            let inputs =
                json!({ "base": base.key, "phase": config, "passes": self.recipe.continued.passes, "branches": branches, "index": index });
            let name = self.stage(&format!("branch-{}-{seed}-{index}", arm.name));
            stages.run(&name, &inputs, |folder| {
                let model = load_for_training(&Checkpoint::open(base.folder.join("model"))?, config.precision, self.device)?;
                self.train(model, config.clone(), Span::Branch(branches, index), tokenizer, folder, &name)
            })
        };
        (0..branches.count).map(train).collect()
    }

    fn upcycle(
        &self,
        recipe: &UpcycleRecipe,
        seed: u64,
        base: &Finished,
        branches: &[Finished],
        tokenizer: &Finished,
        folder: &Path,
    ) -> Result<()> {
        let (target, dense) = (folder.join("model"), Checkpoint::open(base.folder.join("model"))?);
        let mixed = branches.iter().map(|branch| Checkpoint::open(branch.folder.join("model"))).collect::<Result<Vec<_>, _>>()?;
        let sources = mixed.split_first().map_or_else(|| Ok(Sources::one(&dense)), |(first, rest)| Sources::new(first, rest))?;
        let mut options = recipe.options(seed)?;
        options.branches = branches.iter().skip(1).map(|branch| branch.folder.join("model")).collect();
        self.feed_router(&mut options, &dense, tokenizer)?;
        upcycle(&sources, &options, &target, &mut |_| {}, interrupted()).map_err(stopped)?;
        let ids = self.data.validation_tokens(&tokenizer.folder)?;
        let ids: Vec<i64> = ids.tokens.into_iter().take(PROBE).map(i64::from).collect();
        let probe = Probe::Text(ids.chunks(longest(&dense)).map(<[i64]>::to_vec).collect());
        let report = compare(&dense, &Checkpoint::open(&target)?, &probe, &mut |_, _| {}, interrupted()).map_err(stopped)?;
        card::add_report(&target, &report)?;
        Ok(write_atomic(folder.join("step0.json"), serde_json::to_string_pretty(&report)?.as_bytes())?)
    }

    /// The text that routers are made from, where they are.
    fn feed_router(&self, options: &mut Options, dense: &Checkpoint, tokenizer: &Finished) -> Result<()> {
        match options.router_init {
            RouterInit::Kmeans => {
                let ids = self.data.tokens(Span::Pretrain, self.recipe, &tokenizer.folder)?;
                let ids: Vec<i64> = ids.tokens.into_iter().take(SAMPLE).map(i64::from).collect();
                options.router_sample = ids.chunks(longest(dense)).map(<[i64]>::to_vec).collect();
            }
            RouterInit::Hidden | RouterInit::HiddenAvg | RouterInit::CheapEmbed => {
                let rows = options.experts / options.granularity.unwrap_or(1);
                options.router_prompts =
                    (0..rows as usize).map(|row| self.prompts(row, rows as usize, tokenizer)).collect::<Result<_>>()?;
            }
            RouterInit::Normal | RouterInit::Orthogonal | RouterInit::Zero => {}
        }
        Ok(())
    }

    /// Beginnings of documents of the parts that fall to one expert; where there are more experts than parts, several share one and
    /// take other documents of it.
    fn prompts(&self, expert: usize, experts: usize, tokenizer: &Finished) -> Result<ExpertPrompts> {
        let tokenizer = load_tokenizer(&tokenizer.folder)?;
        let passages = || self.data.passages(Span::Continue, self.recipe);
        let parts = passages().map(|passage| passage.part + 1).max().unwrap_or(1).min(experts);
        let (part, skipped) = (expert % parts, expert / parts * PROMPTS);
        let mine = passages().filter(|passage| passage.part % parts == part).skip(skipped).take(PROMPTS);
        let ids = |text: &str| -> Result<Vec<i64>> {
            let encoding = tokenizer.encode_fast(text, false).map_err(|error| anyhow::anyhow!("{error}"))?;
            Ok(encoding.get_ids().iter().take(PROMPT).copied().map(i64::from).collect())
        };
        Ok(ExpertPrompts { positive: mine.map(|passage| ids(&passage.text)).collect::<Result<_>>()?, negative: Vec::new() })
    }
}

/// Length of the sequences a model is looked at on.
fn longest(model: &Checkpoint) -> usize {
    LENGTH.min(model.config.max_position_embeddings as usize)
}

/// A stage that was interrupted is begun anew by the next run; the stages before it are kept.
fn stopped(error: ConvertError) -> anyhow::Error {
    if matches!(error, ConvertError::Interrupted | ConvertError::Paused { .. }) { Interrupted::Kept.into() } else { error.into() }
}
