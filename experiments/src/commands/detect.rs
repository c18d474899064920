//! `coppice detect`: records to verdicts, the benchmark of all scores, the registry.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use coppice_detect::bench::{Bench, BenchSettings, bench};
use coppice_detect::metrics::Interval;
use coppice_detect::reader::{Reason, RecordError, read_records};
use coppice_detect::scores::{Scorer, find, registry};
use coppice_detect::{Record, score_record};
use coppice_models::fs::Existing;
use serde_json::{Value, json};

use crate::common::{Interrupted, Outcome, check_interrupt, refuse_existing};
use crate::{jsonl, output};

/// Tells which answers are probably made up.
#[derive(Debug, Args)]
pub struct DetectArgs {
    #[command(subcommand)]
    command: DetectCommand,
}

#[derive(Debug, Subcommand)]
enum DetectCommand {
    Score(DetectScoreArgs),
    Bench(DetectBenchArgs),
    List(DetectListArgs),
}

/// Scores every record; a bad line becomes {"id", "error"}, the rest is done, exit 1.
#[derive(Debug, Args)]
struct DetectScoreArgs {
    /// Records, one JSON object a line (`coppice generate --json` makes them).
    #[arg(long, value_name = "R.jsonl")]
    input: PathBuf,
    /// Verdicts, one JSON object a line.
    #[arg(long, value_name = "V.jsonl")]
    output: PathBuf,
    /// Scores to compute; default: all.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    scores: Vec<String>,
    /// Replace the output if it exists.
    #[arg(long)]
    overwrite: bool,
    /// Print a summary as one JSON object.
    #[arg(long)]
    json: bool,
}

/// How well every score tells wrong answers from right ones, on labelled records, with bootstrap intervals.
#[derive(Debug, Args)]
struct DetectBenchArgs {
    /// Labelled records (label 1 = wrong), one JSON object a line.
    #[arg(long, value_name = "R.jsonl")]
    input: PathBuf,
    /// Scores to compare; `length` is always among them. Default: all.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    scores: Vec<String>,
    /// Bootstrap resamples of each interval.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    resamples: usize,
    /// Seed of the bootstrap and of the halves probabilities are fitted on.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print one JSON object, curves included.
    #[arg(long)]
    json: bool,
}

/// Lists the scores: what each needs, what it costs, where it comes from.
#[derive(Debug, Args)]
struct DetectListArgs {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl DetectArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        match &self.command {
            DetectCommand::Score(arguments) => arguments.run(),
            DetectCommand::Bench(arguments) => arguments.run(),
            DetectCommand::List(arguments) => arguments.run(),
        }
    }
}

type Items = Vec<Result<Record, RecordError>>;

fn open(path: &PathBuf) -> Result<Items> {
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

impl DetectScoreArgs {
    fn run(&self) -> Result<Outcome> {
        refuse_existing(&self.output, self.overwrite)?;
        let scorers = chosen(&self.scores)?;
        let items = open(&self.input)?;
        let failed = items.iter().filter(|item| item.is_err()).count();
        let line = |item: &Result<Record, RecordError>| -> Result<Value> {
            check_interrupt().map_err(|_| Interrupted::NothingWritten)?;
            Ok(match item {
                Ok(record) => serde_json::to_value(score_record(record, &scorers))?,
                Err(error) => json!({ "id": error.id, "error": error.to_string() }),
            })
        };
        let lines = items.iter().map(line).collect::<Result<Vec<_>>>()?;
        let existing = if self.overwrite { Existing::Replace } else { Existing::Refuse };
        jsonl::write(&self.output, existing, lines)?;
        if self.json {
            output::json(&json!({ "records": items.len(), "failed": failed, "output": self.output }))?;
        } else {
            output::line(format!("{} verdicts, {failed} failed: {}", items.len() - failed, self.output.display()))?;
        }
        Ok(if failed == 0 { Outcome::Done } else { Outcome::No })
    }
}

impl DetectBenchArgs {
    fn run(&self) -> Result<Outcome> {
        chosen(&self.scores)?;
        let (mut records, mut failed) = (Vec::new(), 0);
        for item in open(&self.input)? {
            match item {
                Ok(record) => records.push(record),
                Err(error) => {
                    failed += 1;
                    output::say(format!("{}: {error}", self.input.display()));
                }
            }
        }
        let scores = (!self.scores.is_empty()).then(|| self.scores.clone());
        let found = bench(&records, &BenchSettings { scores, resamples: self.resamples, confidence: 0.95, seed: self.seed })?;
        if self.json {
            output::json(&found)?;
        } else {
            table(&found).into_iter().try_for_each(output::line)?;
        }
        Ok(if failed == 0 { Outcome::Done } else { Outcome::No })
    }
}

fn table(found: &Bench) -> Vec<String> {
    let optional = |value: Option<Interval>| value.map_or("-".to_owned(), |value| format!("{:.3}", value.estimate));
    let row = |row: &coppice_detect::bench::Row| {
        let auroc = format!("{:.3} [{:.3}, {:.3}]", row.auroc.estimate, row.auroc.low, row.auroc.high);
        let calibrated = format!("{:>6} {:>6}", optional(row.ece), optional(row.brier));
        format!(
            "{:<28} {:>5} {auroc:>22} {:>7.3} {:>7.3} {calibrated}  {}",
            row.score, row.n, row.auc_pr.estimate, row.prr.estimate, row.cost
        )
    };
    let head = format!("{:<28} {:>5} {:>22} {:>7} {:>7} {:>6} {:>6}  cost", "score", "n", "AUROC [95 %]", "AUC-PR", "PRR", "ECE", "Brier");
    let base = format!("{} labelled answers, {:.1} % of them wrong (the base rate of AUC-PR)", found.n, found.base_rate * 100.0);
    [base, head].into_iter().chain(found.rows.iter().map(row)).collect()
}

impl DetectListArgs {
    fn run(&self) -> Result<Outcome> {
        if self.json {
            let entry = |scorer: &&dyn Scorer| {
                let card = scorer.card();
                json!({ "name": card.name, "summary": card.summary, "needs": card.needs, "cost": card.cost, "citation": card.citation,
                        "single_pass": scorer.single_pass(), "learned": scorer.learned().is_some() })
            };
            output::json(&json!({ "scores": registry().iter().map(entry).collect::<Vec<_>>() }))?;
            return Ok(Outcome::Done);
        }
        for scorer in registry() {
            output::line(format!("{:<28} {}", scorer.name(), scorer.card().summary))?;
            output::line(format!("{:<28}   cost: {}; {}", "", scorer.card().cost, scorer.card().citation))?;
        }
        Ok(Outcome::Done)
    }
}
