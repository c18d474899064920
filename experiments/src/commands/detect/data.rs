//! `coppice detect data`: public data sets, what their labels are worth, and their rows as records.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use coppice_detect::Record;
use coppice_detect::adapters::{ADAPTERS, Adapter, Item, Kind, find, read};
use coppice_detect::bench::{Level, PublicData, WikiBioRow, public, wikibio};
use coppice_models::fs::Existing;
use serde_json::json;

use crate::common::{Outcome, open_file, refuse_existing};
use crate::{jsonl, output};

const FOLDER: &str = "COPPICE_DATA";
const RESPONSE: &str = "response";

/// Lists public data sets; of one, counts labels and measures the length baseline, or writes it as records.
#[derive(Debug, Args)]
pub(super) struct DetectDataArgs {
    /// The data set; without it all are listed.
    name: Option<String>,
    #[command(flatten)]
    source: DataArgs,
    /// Write its records, one JSON object a line: for `detect score` and `bench`, or questions for a model.
    #[arg(long, value_name = "R.jsonl", requires = "name")]
    output: Option<PathBuf>,
    /// Replace the output if it exists.
    #[arg(long)]
    overwrite: bool,
    /// Seed of the bootstrap.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Where a data set lies, and what of it is judged.
#[derive(Debug, Args)]
pub(super) struct DataArgs {
    /// Its file, .jsonl or .jsonl.zst; default: where it lies in the folder that COPPICE_DATA names.
    #[arg(long, value_name = "FILE")]
    path: Option<PathBuf>,
    /// What becomes a record: whole responses, their sentences or their claims; default: the first of these that is labelled.
    #[arg(long, value_name = "UNIT", value_parser = [RESPONSE, "sentence", "claim"])]
    unit: Option<String>,
}

/// A data set that was read.
pub(super) struct DataSet {
    adapter: &'static Adapter,
    items: Vec<Item>,
    /// Rows that could not be read, with their place.
    bad: Vec<anyhow::Error>,
}

impl DataArgs {
    /// Reads the data set of that name.
    pub(super) fn open(&self, name: &str) -> Result<DataSet> {
        let adapter = find(name)?;
        let path = self.path.clone().map_or_else(|| usual_place(adapter), Ok)?;
        open_file(&path)?;
        let rows = read(adapter, &path).with_context(|| format!("cannot read {}", path.display()))?;
        let (good, bad): (Vec<_>, Vec<_>) = rows.into_iter().partition(Result::is_ok);
        let items: Vec<Item> = good.into_iter().flatten().collect();
        let first = bad.iter().find_map(|row| row.as_ref().err());
        match first {
            Some(first) if items.is_empty() => bail!("{} is not what {name} should be; the first row: {first}", path.display()),
            None if items.is_empty() => bail!("{} is empty", path.display()),
            _ => {}
        }
        let bad = bad.into_iter().filter_map(Result::err).map(|error| anyhow!("{}: {error}", path.display())).collect();
        Ok(DataSet { adapter, items, bad })
    }

    /// The records of a data set, and the rows that are none.
    pub(super) fn records(&self, data: DataSet) -> Vec<Result<Record>> {
        let unit = self.unit.as_deref().unwrap_or_else(|| labelled(&data.items));
        let records: Vec<Record> = match Kind::ALL.into_iter().find(|kind| kind.name() == unit) {
            Some(kind) => data.items.iter().flat_map(|item| item.unit_records(kind)).collect(),
            None => data.items.into_iter().map(|item| item.record).collect(),
        };
        records.into_iter().map(Ok).chain(data.bad.into_iter().map(Err)).collect()
    }
}

fn usual_place(adapter: &Adapter) -> Result<PathBuf> {
    match std::env::var_os(FOLDER) {
        Some(folder) => Ok(PathBuf::from(folder).join(adapter.file)),
        None => bail!("where does {} lie? Give --path FILE, or set {FOLDER} to a folder that holds {}", adapter.name, adapter.file),
    }
}

/// The first unit that has a label; whole responses if none has.
fn labelled(items: &[Item]) -> &'static str {
    let of_kind = |kind: &Kind| items.iter().flat_map(|item| &item.units).any(|unit| unit.kind == *kind && unit.label.is_some());
    if items.iter().any(|item| item.record.label.is_some()) {
        return RESPONSE;
    }
    Kind::ALL.into_iter().filter(|kind| *kind != Kind::Span).find(of_kind).map_or(RESPONSE, Kind::name)
}

impl DetectDataArgs {
    pub(super) fn run(&self) -> Result<Outcome> {
        let Some(name) = &self.name else { return self.list() };
        self.output.as_deref().map(|path| refuse_existing(path, self.overwrite)).transpose()?;
        let data = self.source.open(name)?;
        data.bad.iter().for_each(|error| output::say(error.to_string()));
        let outcome = if data.bad.is_empty() { Outcome::Done } else { Outcome::No };
        match &self.output {
            Some(path) => self.write(path.clone(), data)?,
            None => self.measure(&data)?,
        }
        Ok(outcome)
    }

    fn list(&self) -> Result<Outcome> {
        if self.json {
            let of = |adapter: &&Adapter| {
                let Adapter { name, file, summary, citation, .. } = adapter;
                json!({ "name": name, "file": file, "summary": summary, "citation": citation })
            };
            output::json(&json!({ "data": ADAPTERS.iter().map(of).collect::<Vec<_>>() }))?;
        } else {
            ADAPTERS.iter().try_for_each(|adapter| output::line(format!("{:<24} {}", adapter.name, adapter.summary)))?;
        }
        Ok(Outcome::Done)
    }

    fn write(&self, path: PathBuf, data: DataSet) -> Result<()> {
        let records: Vec<Record> = self.source.records(data).into_iter().flatten().collect();
        let existing = if self.overwrite { Existing::Replace } else { Existing::Refuse };
        jsonl::write(&path, existing, &records)?;
        let labelled = records.iter().filter(|record| record.label.is_some()).count();
        if self.json {
            return output::json(&json!({ "records": records.len(), "labelled": labelled, "output": path }));
        }
        output::line(format!("{} records, {labelled} labelled: {}", records.len(), path.display()))
    }

    fn measure(&self, data: &DataSet) -> Result<()> {
        let found = public(data.adapter, &data.items, data.bad.len(), self.seed);
        let passages = if data.adapter.name == "selfcheck_wikibio" { wikibio(&data.items, self.seed)? } else { Vec::new() };
        if self.json {
            return output::json(&json!({ "data": found, "selfcheck": passages }));
        }
        table(&found).into_iter().chain(passages_table(&passages)).try_for_each(output::line)
    }
}

fn table(found: &PublicData) -> Vec<String> {
    let head = format!(
        "{}: {} items, {} of them questions, {} rows that could not be read",
        found.name, found.items, found.questions, found.bad_rows
    );
    let level = |level: &Level| {
        let length = level.length_auroc.map_or("-".to_owned(), |i| format!("{:.3} [{:.3}, {:.3}]", i.estimate, i.low, i.high));
        format!("{:<10} {:>6} labelled, {:>5.1} % wrong; AUROC of the length {length}", level.unit, level.n, 100.0 * level.base_rate)
    };
    std::iter::once(head).chain(found.levels.iter().map(level)).collect()
}

/// SelfCheckGPT's protocol, in per cent; nothing without passages.
fn passages_table(rows: &[WikiBioRow]) -> Vec<String> {
    let head = format!("{:<22} {:>8} {:>8} {:>8} {:>8} {:>8}", "score (%)", "NonFact", "NonFact*", "Factual", "Pearson", "Spearman");
    let line = |row: &WikiBioRow| {
        let found = &row.measured;
        let figures = [found.non_fact.auc_pr, found.non_fact_star.auc_pr, found.factual.auc_pr, found.pearson, found.spearman];
        figures.iter().fold(format!("{:<22}", row.score), |text, figure| format!("{text} {:>8.1}", 100.0 * figure))
    };
    rows.first().map(|_| head).into_iter().chain(rows.iter().map(line)).collect()
}
