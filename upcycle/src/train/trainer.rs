//! The training loop: steps, metrics, validation, checkpoints, interruption.

mod inheriting;
mod saving;
mod starting;
mod stepping;
mod timing;
mod watching;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use coppice_models::init::Stored;
use coppice_models::{Checkpoint, Model};
use tch::{Device, Kind};

pub use self::timing::seconds_per_step;
use self::watching::Records;
use super::balancing::Coefficients;
use super::clock::Clock;
use super::data::{Batches, Prefetch, TokenStream};
use super::error::{Result, TrainError};
use super::hardware::Hardware;
use super::losses::{Cut, Evaluation, evaluate_loss};
use super::metrics::ValidationMetrics;
use super::notes::notes;
use super::optimizer::AdamW;
use super::parallel::Ranks;
use super::progress::{Event, Outcome, Resume};
use super::recipe::{Precision, TrainConfig};
use super::start::Inheritance;
use super::step::Layout;

/// A model in memory of its own, in the type of its parameters, as training needs it.
///
/// # Errors
/// When a tensor cannot be read.
pub fn load_for_training(checkpoint: &Checkpoint, precision: Precision, device: Device) -> Result<Model> {
    Ok(Model::new(&Stored { checkpoint, kind: precision.parameters(), device, owned: true }, &checkpoint.config, device)?)
}

/// Trains one model in one run folder.
#[derive(Debug)]
pub struct Trainer {
    model: Model,
    config: TrainConfig,
    optimizer: AdamW,
    layout: Layout,
    recompute: Vec<bool>,
    hardware: Hardware,
    coefficients: Coefficients,
    batches: Batches,
    tokens_hash: String,
    blocks: usize,
    valid: Option<TokenStream>,
    folder: PathBuf,
    companions: Option<PathBuf>,
    accepts_changes: bool,
    inheritance: Option<Inheritance>,
    updates_before: u64,
    ranks: Ranks,
}

impl Trainer {
    /// A trainer of `model`, which must own its weights in the recipe's precision ([`load_for_training`], or a random initialisation), on
    /// `train` tokens, measured on `valid` tokens, writing below `folder`. Nothing is written before [`Trainer::run`].
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
        Self::among(Ranks::alone(), model, config, train, valid, folder)
    }

    /// The same as one of several processes, all of which are given the same.
    ///
    /// # Errors
    /// As [`Trainer::new`], and where ranks, sequences and experts do not divide.
    pub fn among(
        ranks: Ranks,
        mut model: Model,
        config: TrainConfig,
        train: TokenStream,
        valid: Option<TokenStream>,
        folder: impl AsRef<Path>,
    ) -> Result<Self> {
        config.check()?;
        check_model(&model, &config)?;
        ranks.share(&config)?;
        ranks.spread(&mut model)?;
        [Some(&train), valid.as_ref()].into_iter().flatten().try_for_each(|stream| stream.check(model.config.vocab_size))?;
        let recompute = config.recompute.resolve(model.layers.len()).map_err(|error| TrainError::Recipe(format!("recompute: {error}")))?;
        let settings = &config.optimizer;
        let optimizer = AdamW::new(model.parameters(), settings.betas, settings.eps, config.precision, |name| settings.decay_of(name))?;
        Ok(Self {
            layout: Layout::new(&model, optimizer.parameters()),
            hardware: Hardware::new(&model.config, &config, model.device())?,
            coefficients: Coefficients::new(&model, &config.losses),
            tokens_hash: train.hash(),
            blocks: train.blocks(config.sequence_length),
            batches: Batches::new(train, &config)?,
            folder: folder.as_ref().to_path_buf(),
            companions: None,
            accepts_changes: false,
            inheritance: None,
            updates_before: 0,
            ranks,
            model,
            config,
            optimizer,
            recompute,
            valid,
        })
    }

    /// Takes the master copies, where there are any, from the checkpoint the model was loaded from.
    ///
    /// # Errors
    /// When a tensor cannot be read.
    pub fn with_masters_of(mut self, checkpoint: &Checkpoint) -> Result<Self> {
        let device = self.model.device();
        self.optimizer.take_masters(|name| Ok(checkpoint.load(name, Kind::Float, device)?))?;
        Ok(self)
    }

    /// Resumes checkpoints of a run with another recipe or other tokens too, and says in what they differ.
    #[must_use]
    pub fn accepting_changes(self, accepts_changes: bool) -> Self {
        Self { accepts_changes, ..self }
    }

    /// Measures throughput against the machine's rate of matrix products, which takes a second at most.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn with_measured_rate(self) -> Result<Self> {
        Ok(Self { hardware: self.hardware.measured(self.model.kind())?, ..self })
    }

    /// Copies the tokenizer files of `source` into the exported model.
    #[must_use]
    pub fn with_tokenizer_of(mut self, source: impl AsRef<Path>) -> Self {
        self.companions = Some(source.as_ref().to_path_buf());
        self
    }

    /// Whether this is the process that writes and speaks, of all of the run.
    pub fn leads(&self) -> bool {
        self.ranks.leads()
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
    /// not finite ([`TrainError::NonFinite`]) or left its course where the recipe stops at that ([`TrainError::Spike`]).
    pub fn run(&mut self, resume: Resume, progress: &mut dyn FnMut(&Event), interrupted: &AtomicBool) -> Result<Outcome> {
        notes(self.model.config.moe.as_ref(), &self.config).iter().for_each(|text| progress(&Event::Note { text }));
        let outcome = self.train(resume, progress, interrupted);
        outcome.map_err(|error| if error.is_loss_of_a_rank() { self.without_a_rank(error) } else { error })
    }

    fn train(&mut self, resume: Resume, progress: &mut dyn FnMut(&Event), interrupted: &AtomicBool) -> Result<Outcome> {
        let first = self.start(resume, progress)?;
        let mut records = Records::open(&self.folder, first, &self.config, self.ranks.leads())?;
        let mut clock = Clock::new(first, &self.config);
        let batches = Prefetch::start(self.batches.clone(), first + 1..self.config.steps + 1, self.ranks.share(&self.config)?)?;
        let mut validation = None;
        for step in first + 1..=self.config.steps {
            let stop = self.ranks.any(interrupted.load(Ordering::Relaxed));
            if stop.map_err(|error| self.rescue(step - 1, &records, error))? {
                let checkpoint = self.save(step - 1, &records, progress)?;
                return Ok(Outcome::Interrupted { step: step - 1, checkpoint });
            }
            let batches = batches.next()?;
            let metrics = self.step(step, batches, &mut clock).map_err(|error| self.rescue(step - 1, &records, error))?;
            progress(&Event::Step(clock.progress(&metrics)));
            self.heed(records.step(metrics)?, progress)?;
            validation = self.validate(step, &mut records, progress)?;
            if self.due(step, self.config.checkpoints.every_steps) {
                self.save(step, &records, progress)?;
            }
        }
        self.finish(first, validation)
    }

    /// Measures held-out tokens where this step asks for it.
    fn validate(&self, step: u64, records: &mut Records, progress: &mut dyn FnMut(&Event)) -> Result<Option<Evaluation>> {
        let Some(stream) = self.valid.as_ref().filter(|_| self.due(step, self.config.validation.every_steps)) else { return Ok(None) };
        let evaluation = self.evaluate(stream)?;
        if !evaluation.loss.is_finite() {
            let (what, value, checkpoint) = ("the loss on held-out tokens", evaluation.loss, self.older_than(step)?);
            return Err(TrainError::NonFinite { step, what, value, documents: String::new(), checkpoint });
        }
        records.validation(ValidationMetrics { step, validation: evaluation })?;
        progress(&Event::Validated { step, evaluation });
        Ok(Some(evaluation))
    }

    fn evaluate(&self, stream: &TokenStream) -> Result<Evaluation> {
        let cut = Cut {
            sequence_length: self.config.sequence_length,
            batch: self.config.micro_batch(),
            max_tokens: self.config.validation.max_tokens,
            reset_at_documents: self.config.reset_at_documents,
        };
        evaluate_loss(&self.model, stream, cut)
    }

    /// Whether something done every so many steps, and after the last one, is due.
    fn due(&self, step: u64, every: u64) -> bool {
        step == self.config.steps || step.is_multiple_of(every)
    }
}

/// Refuses a model whose weights cannot be written to, or that cannot read the recipe's sequences.
fn check_model(model: &Model, config: &TrainConfig) -> Result<()> {
    let kind = config.precision.parameters();
    if model.is_mapped() || model.kind() != kind {
        let found = model.kind();
        let sentence = format!("training needs a model that owns weights of {kind:?}, not {found:?} or a file's (see load_for_training)");
        return Err(TrainError::Recipe(sentence));
    }
    let (length, context) = (config.sequence_length, model.config.max_position_embeddings);
    if length as i64 > context {
        return Err(TrainError::Recipe(format!("sequence_length is {length}, this model's context holds {context}")));
    }
    Ok(())
}
