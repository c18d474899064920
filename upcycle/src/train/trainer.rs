//! The training loop: steps, metrics, validation, checkpoints, interruption.

mod inheriting;
mod stepping;
mod timing;
mod watching;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use coppice_models::init::Stored;
use coppice_models::{Checkpoint, Model};
use tch::{Device, Kind};

pub use self::timing::seconds_per_step;
use self::watching::{Records, metrics_path};
use super::balancing::Coefficients;
use super::checkpoint::{self, State};
use super::clock::Clock;
use super::data::{Batches, Prefetch, TokenStream};
use super::error::{Result, TrainError};
use super::export::export;
use super::hardware::Hardware;
use super::losses::{Cut, Evaluation, evaluate_loss};
use super::metrics::ValidationMetrics;
use super::notes::notes;
use super::optimizer::AdamW;
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
        config.check()?;
        check_model(&model, &config)?;
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
        let first = self.start(resume, progress)?;
        let mut records = Records::open(&self.folder, first, &self.config)?;
        let mut clock = Clock::new(first, &self.config);
        let batches = Prefetch::start(self.batches.clone(), first + 1..self.config.steps + 1, 0..self.config.batch())?;
        let mut validation = None;
        for step in first + 1..=self.config.steps {
            if interrupted.load(Ordering::Relaxed) {
                let checkpoint = self.save(step - 1, &records, progress)?;
                return Ok(Outcome::Interrupted { step: step - 1, checkpoint });
            }
            let metrics = self.step(step, batches.next()?, &mut clock)?;
            progress(&Event::Step(clock.progress(&metrics)));
            self.heed(records.step(metrics)?, progress)?;
            validation = self.validate(step, &mut records, progress)?;
            if self.due(step, self.config.checkpoints.every_steps) {
                self.save(step, &records, progress)?;
            }
        }
        self.finish(first, validation)
    }

    /// Readies the run folder and returns how many steps are done.
    fn start(&mut self, resume: Resume, progress: &mut dyn FnMut(&Event)) -> Result<u64> {
        let checkpoints = self.checkpoints();
        let found = match resume {
            Resume::Never if metrics_path(&self.folder).exists() || !checkpoint::list(&checkpoints)?.is_empty() => {
                return Err(TrainError::Occupied(self.folder.clone()));
            }
            Resume::Never => None,
            Resume::Auto => checkpoint::newest(&checkpoints, |path, reason| progress(&Event::Skipped { path, reason }))?,
            Resume::From(path) => Some((path.clone(), checkpoint::verify(&path)?)),
        };
        if found.is_none() {
            self.inherit(progress)?;
        }
        std::fs::create_dir_all(&checkpoints).map_err(|source| TrainError::io(&checkpoints, source))?;
        checkpoint::clear_unfinished(&checkpoints)?;
        let Some((path, state)) = found else { return Ok(0) };
        self.same_run(&path, &state, progress)?;
        checkpoint::restore(&path, &state, &self.model, &mut self.optimizer)?;
        self.updates_before = state.updates_before;
        self.coefficients.restore(&path, &state.balance_coefficients, &self.config.losses)?;
        progress(&Event::Resumed { step: state.step, path: &path });
        Ok(state.step)
    }

    /// Says in what the run of a checkpoint differs from this one, and refuses it unless changes are accepted.
    fn same_run(&self, path: &Path, found: &State, progress: &mut dyn FnMut(&Event)) -> Result<()> {
        let differences = self.state(found.step)?.differences(found).join("; ");
        if differences.is_empty() {
            return Ok(());
        }
        if !self.accepts_changes {
            return Err(TrainError::checkpoint(
                path,
                format!("was made by another run: {differences} (--accept-changes goes on all the same)"),
            ));
        }
        progress(&Event::Note { text: &format!("{} was made by another run, which goes on as this one: {differences}", path.display()) });
        Ok(())
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

    fn save(&self, step: u64, records: &Records, progress: &mut dyn FnMut(&Event)) -> Result<PathBuf> {
        records.sync()?;
        let path = checkpoint::save(&self.checkpoints(), &self.model, &self.optimizer, &self.state(step)?)?;
        checkpoint::prune(&self.checkpoints(), &self.config.checkpoints)?;
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
        let (balance_coefficients, updates_before) = (self.coefficients.state(&self.config.losses), self.updates_before);
        Ok(State { balance_coefficients, updates_before, ..state })
    }

    fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
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
