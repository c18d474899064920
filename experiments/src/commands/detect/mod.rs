//! `coppice detect`: records to verdicts, the benchmark of all scores, calibration, fitting, public data, the registry.

mod bench;
mod bench_page;
mod bench_table;
mod calibrate;
mod calibrated;
mod calibrator;
mod collect;
mod data;
mod engine;
mod fit;
mod judge;
mod ledger;
mod list;
mod score;
mod server;
mod setup;

use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use coppice_detect::Record;
use coppice_detect::metrics::Groups;
use coppice_detect::reader::{Reason, RecordError, read_records};
use coppice_detect::scores::{Scorer, find, registry};

use crate::common::{Outcome, open_file};
use crate::output;

/// Tells which answers are probably made up.
#[derive(Debug, Args)]
pub struct DetectArgs {
    #[command(subcommand)]
    command: DetectCommand,
}

#[derive(Debug, Subcommand)]
enum DetectCommand {
    Score(Box<score::DetectScoreArgs>),
    Bench(Box<bench::DetectBenchArgs>),
    Calibrate(Box<calibrate::DetectCalibrateArgs>),
    Data(data::DetectDataArgs),
    Fit(Box<fit::DetectFitArgs>),
    List(list::DetectListArgs),
    Collect(Box<collect::DetectCollectArgs>),
    Judge(Box<judge::DetectJudgeArgs>),
}

impl DetectArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        match &self.command {
            DetectCommand::Score(arguments) => arguments.run(),
            DetectCommand::Bench(arguments) => arguments.run(),
            DetectCommand::Calibrate(arguments) => arguments.run(),
            DetectCommand::Data(arguments) => arguments.run(),
            DetectCommand::Fit(arguments) => arguments.run(),
            DetectCommand::List(arguments) => arguments.run(),
            DetectCommand::Collect(arguments) => arguments.run(),
            DetectCommand::Judge(arguments) => arguments.run(),
        }
    }
}

type Items = Vec<Result<Record, RecordError>>;

fn open(path: &Path) -> Result<Items> {
    let file = open_file(path)?;
    let items: Items = read_records(BufReader::new(file)).map(|(_, item)| item).collect();
    let nothing = |item: &Result<Record, RecordError>| matches!(item, Err(RecordError { reason: Reason::EmptyInput, .. }));
    if items.iter().all(nothing) { bail!("{} is empty", path.display()) } else { Ok(items) }
}

/// The records that can be read; of the other lines it says on stderr what is wrong, and counts them.
fn readable(path: &Path) -> Result<(Vec<Record>, usize)> {
    Ok(told(open(path)?.into_iter().map(|item| item.map_err(|error| anyhow!("{}: {error}", path.display())))))
}

/// The good records; of the others it says on stderr what is wrong, and counts them.
fn told(items: impl IntoIterator<Item = Result<Record>>) -> (Vec<Record>, usize) {
    let (mut records, mut failed) = (Vec::new(), 0);
    for item in items {
        match item {
            Ok(record) => records.push(record),
            Err(error) => {
                failed += 1;
                output::say(error.to_string());
            }
        }
    }
    (records, failed)
}

/// Groups of records by a field of `source`; without one, each by itself.
fn groups(records: &[&Record], field: Option<&str>) -> Result<Groups> {
    let Some(field) = field else { return Ok(Groups::single(records.len())) };
    let key = |record: &&Record| record.group(field).with_context(|| format!("record `{}` has no `source.{field}` to group by", record.id));
    Ok(Groups::new(records.iter().map(key).collect::<Result<Vec<String>>>()?))
}

/// The scores called by name, or all.
fn chosen(names: &[String]) -> Result<Vec<&'static dyn Scorer>> {
    if names.is_empty() {
        return Ok(registry().to_vec());
    }
    names.iter().map(|name| Ok(find(name)?)).collect()
}
