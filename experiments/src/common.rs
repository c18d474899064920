//! What the commands share: outcomes, interruption, progress bars, and the flags that choose a model and where it runs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use coppice_models::checkpoint::kind_of;
use coppice_models::device::{DeviceChoice, Dtype};
use coppice_models::hub::Hub;
use coppice_models::score::check_causal;
use coppice_models::{Checkpoint, Config, Model};
use coppice_upcycle::convert::ConvertError;
use indicatif::{ProgressBar, ProgressStyle};
use tch::{Device, Kind};

/// How a command that ran has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything asked for is done.
    Done,
    /// It ran, and the answer is no, or some items failed.
    No,
    /// Processes it started have told why they did not finish; the exit code is theirs.
    Exit(u8),
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static POLLED: AtomicBool = AtomicBool::new(false);

/// Ctrl-C or SIGTERM ends the process with 130: at once, or, in work that polls, at its next safe point and at once the second time.
pub fn watch_for_interrupts() {
    let _ = ctrlc::set_handler(|| {
        let second = INTERRUPTED.swap(true, Ordering::SeqCst);
        if second || !POLLED.load(Ordering::SeqCst) {
            crate::output::say("coppice: interrupted");
            // SAFETY: ends the process without running destructors, as the user asks for.
            unsafe { libc::_exit(130) };
        }
        crate::output::say("coppice: stopping at the next safe point (again: at once)");
    });
}

/// The flag long work looks at; asking for it is the promise to look.
pub fn interrupted() -> &'static AtomicBool {
    POLLED.store(true, Ordering::SeqCst);
    &INTERRUPTED
}

/// Raised by work that stopped because the user asked it to; says what became of it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub enum Interrupted {
    /// The result appears whole or not at all.
    #[error("interrupted; nothing was written")]
    NothingWritten,
    /// The work resumes by itself.
    #[error("interrupted; what was finished is kept, the same command goes on from there")]
    Kept,
    /// The work resumes when told to.
    #[error("interrupted; the state is saved, --resume auto goes on from there")]
    Saved,
    /// The work is journalled item by item and resumes when told to.
    #[error("interrupted; finished items are kept, --resume goes on from there")]
    Journal,
    /// The upcycled checkpoint is complete.
    #[error("interrupted in the step-0 report; the checkpoint is written, whole")]
    WithoutReport,
}

/// Whether an error says that the user asked to stop.
pub fn is_interruption(error: &anyhow::Error) -> bool {
    error.is::<Interrupted>() || matches!(error.downcast_ref(), Some(ConvertError::Interrupted | ConvertError::Paused { .. }))
}

/// An [`Interrupted`] error if the user asked to stop.
pub fn check_interrupt() -> Result<()> {
    if interrupted().load(Ordering::SeqCst) { Err(Interrupted::Kept.into()) } else { Ok(()) }
}

/// A bar on stderr, hidden where that is no terminal.
pub fn progress(total: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let style = ProgressStyle::with_template("{prefix:>12} {wide_bar} {pos}/{len} {msg} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Where and in what precision a model runs.
#[derive(Debug, Clone, Args)]
pub struct Compute {
    /// Device: auto, cpu or cuda:N.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: DeviceChoice,
    /// Computing precision: f32 or bf16. Default: that of the file, f32 for F16 files on a CPU.
    #[arg(long, value_name = "DTYPE")]
    pub dtype: Option<Dtype>,
}

/// Which model, and how it runs.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// Checkpoint folder, or the ID of a pulled one.
    #[arg(long, value_name = "DIR")]
    pub model: String,
    #[command(flatten)]
    pub compute: Compute,
}

impl Compute {
    /// The device to run on.
    pub fn device(&self) -> Result<Device> {
        open_device(self.device)
    }

    /// The precision for a checkpoint: as asked, else the file's own (F16 is not computed in).
    pub fn kind(&self, checkpoint: &Checkpoint) -> Result<Kind> {
        let stored = kind_of(checkpoint.dtype())?;
        let own = if stored == Kind::Half { Kind::Float } else { stored };
        Ok(self.dtype.map_or(own, Dtype::kind))
    }
}

impl ModelArgs {
    /// Opens the checkpoint without loading it.
    pub fn open(&self) -> Result<Checkpoint> {
        Ok(Checkpoint::open(resolve_model(&self.model)?)?)
    }

    /// Opens and loads the model.
    pub fn load(&self) -> Result<(Checkpoint, Model)> {
        let device = self.compute.device()?;
        let checkpoint = self.open()?;
        let model = Model::load(&checkpoint, self.compute.kind(&checkpoint)?, device)?;
        Ok((checkpoint, model))
    }
}

/// Whether a model that looks ahead may be run.
#[derive(Debug, Clone, Args)]
pub struct Causality {
    /// Run a model of expert choice all the same. Its experts choose among the tokens at hand: scores depend on later tokens and on the
    /// other texts of a batch, and while generating each step chooses among the one new token of each sample.
    #[arg(long)]
    allow_expert_choice: bool,
}

impl Causality {
    /// Refuses a model that is not causal, unless the user allows it.
    pub fn check(&self, config: &Config) -> Result<()> {
        if self.allow_expert_choice {
            return Ok(());
        }
        check_causal(config).map_err(|error| anyhow!("{error}; --allow-expert-choice runs it all the same"))
    }
}

/// Opens a device; must come before any other use of libtorch.
pub fn open_device(choice: DeviceChoice) -> Result<Device> {
    Ok(choice.open()?.device)
}

/// The folder of a checkpoint: a local one, or a pulled one by its ID.
pub fn resolve_model(name: &str) -> Result<PathBuf> {
    let local = Path::new(name);
    if local.join("config.json").is_file() {
        return Ok(local.to_path_buf());
    }
    Ok(Hub::from_env()?.resolve_model(name)?)
}

/// Refuses an output that exists, unless the user said otherwise.
pub fn refuse_existing(path: &Path, overwrite: bool) -> Result<()> {
    if path.exists() && !overwrite {
        bail!("{} exists; pass --overwrite to replace it, or name another output", path.display());
    }
    Ok(())
}

/// Refuses an output that is the input: what was read would be lost.
pub fn refuse_same(input: &Path, output: &Path) -> Result<()> {
    let same = matches!((input.canonicalize(), output.canonicalize()), (Ok(input), Ok(output)) if input == output);
    if same { Err(anyhow!("{} is the input: name another output", output.display())) } else { Ok(()) }
}

/// Opens a file for reading, naming it in the error; a folder is none.
pub fn open_file(path: &Path) -> Result<File> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        bail!("cannot read {}: it is a folder", path.display());
    }
    Ok(file)
}

/// Reads a whole text file, naming it in the error.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    String::from_utf8(bytes).map_err(|error| anyhow!("{}: not UTF-8 at byte {}", path.display(), error.utf8_error().valid_up_to()))
}
