//! `coppice detect`: records to verdicts, the benchmark of all scores, calibration, the registry.

mod bench;
mod calibrate;
mod calibrated;
mod calibrator;
mod list;
mod score;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use coppice_detect::Record;
use coppice_detect::reader::{Reason, RecordError, read_records};
use coppice_detect::scores::{Scorer, find, registry};

use crate::common::Outcome;

/// Tells which answers are probably made up.
#[derive(Debug, Args)]
pub struct DetectArgs {
    #[command(subcommand)]
    command: DetectCommand,
}

#[derive(Debug, Subcommand)]
enum DetectCommand {
    Score(score::DetectScoreArgs),
    Bench(bench::DetectBenchArgs),
    Calibrate(Box<calibrate::DetectCalibrateArgs>),
    List(list::DetectListArgs),
}

impl DetectArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        match &self.command {
            DetectCommand::Score(arguments) => arguments.run(),
            DetectCommand::Bench(arguments) => arguments.run(),
            DetectCommand::Calibrate(arguments) => arguments.run(),
            DetectCommand::List(arguments) => arguments.run(),
        }
    }
}

type Items = Vec<Result<Record, RecordError>>;

fn open(path: &Path) -> Result<Items> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let items: Items = read_records(BufReader::new(file)).map(|(_, item)| item).collect();
    let nothing = |item: &Result<Record, RecordError>| matches!(item, Err(RecordError { reason: Reason::EmptyInput, .. }));
    if items.iter().all(nothing) { bail!("{} is empty", path.display()) } else { Ok(items) }
}

/// The scores called by name, or all.
fn chosen(names: &[String]) -> Result<Vec<&'static dyn Scorer>> {
    if names.is_empty() {
        return Ok(registry().to_vec());
    }
    names.iter().map(|name| Ok(find(name)?)).collect()
}
