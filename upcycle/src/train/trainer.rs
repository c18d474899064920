//! The training loop: steps, metrics, validation, checkpoints, interruption.

mod stepping;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use coppice_models::init::Stored;
use coppice_models::{Checkpoint, Model};
use tch::{Device, Kind};

use super::balancing::Coefficients;
use super::checkpoint::{self, State};
use super::clock::Clock;
use super::data::{Batches, TokenStream};
use super::error::{Result, TrainError};
use super::export::export;
use super::losses::{Evaluation, evaluate_loss};
use super::metrics::{Line, MetricsLog, ValidationMetrics};
use super::notes::notes;
use super::optimizer::AdamW;
use super::progress::{Event, Outcome, Resume};
use super::recipe::TrainConfig;

/// A model in memory of its own, in f32, as training needs it.
///
/// # Errors
/// When a tensor cannot be read.
pub fn load_for_training(checkpoint: &Checkpoint, device: Device) -> Result<Model> {
    Ok(Model::new(&Stored { checkpoint, kind: Kind::Float, device, owned: true }, &checkpoint.config, device)?)
}

/// Trains one model in one run folder.
#[derive(Debug)]
pub struct Trainer {
    model: Model,
    config: TrainConfig,
    optimizer: AdamW,
    coefficients: Coefficients,
    batches: Batches,
    tokens_hash: String,
    blocks: usize,
    valid: Option<TokenStream>,
    folder: PathBuf,
    companions: Option<PathBuf>,
}

impl Trainer {
    /// A trainer of `model`, which must own its f32 weights ([`load_for_training`], or a random initialisation), on `train` tokens,
    /// measured on `valid` tokens, writing below `folder`. Nothing is written before [`Trainer::run`].
    ///
    /// # Errors
    /// A sentence on the recipe's key, the token or the property of the model that cannot be trained with.
    pub fn new(
        model: Model,
        config: TrainConfig,
        train: TokenStream,
        valid: Option<TokenStream>,
        folder: impl AsRef<Path>,
    ) -> Result<Self> {
        config.check()?;
        check_model(&model, &config)?;
        [Some(&train), valid.as_ref()].into_iter().flatten().try_for_each(|stream| stream.check(model.config.vocab_size))?;
        let settings = &config.optimizer;
        let optimizer = AdamW::new(model.parameters(), settings.betas, settings.eps, |name| settings.decay_of(name))?;
        let (tokens_hash, blocks) = (train.hash(), train.blocks(config.sequence_length));
        let batches = Batches::new(train, &config)?;
        let coefficients = Coefficients::new(&model, &config.losses);
        let folder = folder.as_ref().to_path_buf();
        Ok(Self { model, config, optimizer, coefficients, batches, tokens_hash, blocks, valid, folder, companions: None })
    }

    /// Copies the tokenizer files of `source` into the exported model.
    #[must_use]
    pub fn with_tokenizer_of(mut self, source: impl AsRef<Path>) -> Self {
        self.companions = Some(source.as_ref().to_path_buf());
        self
    }

    /// The model as it stands.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The optimizer as it stands.
    pub fn optimizer(&self) -> &AdamW {
        &self.optimizer
    }

    /// Trains to the last step and exports the model to `model/`. `interrupted` is looked at between steps.
    ///
    /// # Errors
    /// When the run folder is occupied, a checkpoint to resume from does not fit, a file cannot be written, or the loss or gradient is
    /// not finite ([`TrainError::NonFinite`]).
    pub fn run(&mut self, resume: Resume, progress: &mut dyn FnMut(&Event), interrupted: &AtomicBool) -> Result<Outcome> {
        notes(self.model.config.moe.as_ref(), &self.config).iter().for_each(|text| progress(&Event::Note { text }));
        let first = self.start(resume, progress)?;
        let mut log = MetricsLog::open(&self.metrics_path(), first)?;
        let mut clock = Clock::new(first, &self.config);
        let mut validation = None;
        for step in first + 1..=self.config.steps {
            if interrupted.load(Ordering::Relaxed) {
                let checkpoint = self.save(step - 1, &log, progress)?;
                return Ok(Outcome::Interrupted { step: step - 1, checkpoint });
            }
            let metrics = self.step(step, &mut clock)?;
            progress(&Event::Step(clock.progress(&metrics)));
            log.write(&Line::Step(metrics))?;
            validation = self.validate(step, &mut log, progress)?;
            if self.due(step, self.config.checkpoints.every_steps) {
                self.save(step, &log, progress)?;
            }
        }
        self.finish(first, validation)
    }

    /// Readies the run folder and returns how many steps are done.
    fn start(&mut self, resume: Resume, progress: &mut dyn FnMut(&Event)) -> Result<u64> {
        let checkpoints = self.checkpoints();
        let found = match resume {
            Resume::Never if self.metrics_path().exists() || !checkpoint::list(&checkpoints)?.is_empty() => {
                return Err(TrainError::Occupied(self.folder.clone()));
            }
            Resume::Never => None,
            Resume::Auto => checkpoint::newest(&checkpoints, |path, reason| progress(&Event::Skipped { path, reason }))?,
            Resume::From(path) => Some((path.clone(), checkpoint::verify(&path)?)),
        };
        std::fs::create_dir_all(&checkpoints).map_err(|source| TrainError::io(&checkpoints, source))?;
        checkpoint::clear_unfinished(&checkpoints)?;
        let Some((path, state)) = found else { return Ok(0) };
        checkpoint::restore(&path, &state, &self.state(state.step)?, &self.model, &mut self.optimizer)?;
        self.coefficients.restore(&path, &state.balance_coefficients, &self.config.losses)?;
        progress(&Event::Resumed { step: state.step, path: &path });
        Ok(state.step)
    }

    /// Measures held-out tokens where this step asks for it.
    fn validate(&self, step: u64, log: &mut MetricsLog, progress: &mut dyn FnMut(&Event)) -> Result<Option<Evaluation>> {
        let Some(stream) = self.valid.as_ref().filter(|_| self.due(step, self.config.validation.every_steps)) else { return Ok(None) };
        let evaluation = self.evaluate(stream)?;
        self.finite(step, "the loss on held-out tokens", evaluation.loss)?;
        log.write(&Line::Validation(ValidationMetrics { step, validation: evaluation }))?;
        progress(&Event::Validated { step, evaluation });
        Ok(Some(evaluation))
    }

    fn evaluate(&self, stream: &TokenStream) -> Result<Evaluation> {
        let (length, batch) = (self.config.sequence_length, self.config.micro_batch());
        evaluate_loss(&self.model, stream, length, batch, self.config.validation.max_tokens)
    }

    /// Whether something done every so many steps, and after the last one, is due.
    fn due(&self, step: u64, every: u64) -> bool {
        step == self.config.steps || step.is_multiple_of(every)
    }

    fn save(&self, step: u64, log: &MetricsLog, progress: &mut dyn FnMut(&Event)) -> Result<PathBuf> {
        log.sync()?;
        let path = checkpoint::save(&self.checkpoints(), &self.model, &self.optimizer, &self.state(step)?)?;
        checkpoint::prune(&self.checkpoints(), self.config.checkpoints.keep_last)?;
        progress(&Event::Saved { step, path: &path });
        Ok(path)
    }

    /// Exports the model; a run that had no step left to do measures the held-out tokens again for its outcome.
    fn finish(&self, first: u64, validation: Option<Evaluation>) -> Result<Outcome> {
        let again = self.valid.as_ref().filter(|_| first == self.config.steps);
        let validation = again.map(|stream| self.evaluate(stream)).transpose()?.or(validation);
        let model = export(&self.model, &self.folder.join("model"), self.companions.as_deref())?;
        Ok(Outcome::Finished { model, validation })
    }

    fn state(&self, step: u64) -> Result<State> {
        let state = State::new(step, &self.config, self.blocks, &self.tokens_hash)?;
        Ok(State { balance_coefficients: self.coefficients.state(&self.config.losses), ..state })
    }

    fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }

    fn metrics_path(&self) -> PathBuf {
        self.folder.join("metrics.jsonl")
    }
}

/// Refuses a model whose weights cannot be written to, or that cannot read the recipe's sequences.
fn check_model(model: &Model, config: &TrainConfig) -> Result<()> {
    if model.is_mapped() || model.kind() != Kind::Float {
        return Err(TrainError::Recipe(
            "training needs a model that owns f32 weights, this one reads a file's (see load_for_training)".into(),
        ));
    }
    let (length, context) = (config.sequence_length, model.config.max_position_embeddings);
    if length as i64 > context {
        return Err(TrainError::Recipe(format!("sequence_length is {length}, this model's context holds {context}")));
    }
    Ok(())
}
