//! `coppice detect bench`: how well every score tells wrong answers from right ones.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use coppice_detect::Record;
use coppice_detect::bench::{Bench, BenchSettings, bench_with, mean_ranks};
use serde_json::json;

use super::data::DataArgs;
use super::setup::{SetupArgs, tell};
use super::{bench_page, bench_table, chosen, readable, told};
use crate::common::{Outcome, refuse_existing};
use crate::output;

/// How well every score tells wrong answers from right ones, on labelled records, with intervals, always beside the length.
#[derive(Debug, Args)]
pub(super) struct DetectBenchArgs {
    /// Labelled records (label 1 = wrong), one JSON object a line. Several (models, data sets): a table each, and mean ranks.
    #[arg(long, value_name = "R.jsonl", conflicts_with = "data")]
    input: Vec<PathBuf>,
    /// A public data set instead (`coppice detect data` lists them).
    #[arg(long, value_name = "NAME")]
    data: Option<String>,
    #[command(flatten)]
    source: DataArgs,
    /// Scores to compare; `length` is always among them. Default: all.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    scores: Vec<String>,
    /// Field of `source` that names what records have in common (a person): intervals draw whole groups.
    #[arg(long, value_name = "FIELD")]
    group_by: Option<String>,
    #[command(flatten)]
    setup: SetupArgs,
    /// Bootstrap resamples of each interval.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    resamples: usize,
    /// Seed of the bootstrap and of the halves probabilities are fitted on.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write a page with tables and curves, DIR/index.html.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Replace the page if there is one.
    #[arg(long)]
    overwrite: bool,
    /// Print one JSON object, curves included.
    #[arg(long)]
    json: bool,
}

impl DetectBenchArgs {
    pub(super) fn run(&self) -> Result<Outcome> {
        chosen(&self.scores)?;
        self.report.as_ref().map_or(Ok(()), |folder| refuse_existing(&folder.join("index.html"), self.overwrite))?;
        let setup = self.setup.open()?;
        let (mut found, mut failed) = (Vec::new(), 0);
        for name in self.names()? {
            let (records, bad) = self.records(name)?;
            failed += bad;
            let bench = bench_with(&records, &self.settings(), &setup).with_context(|| name.display().to_string())?;
            found.push((name, bench));
        }
        let well = tell(&setup);
        if let Some(folder) = &self.report {
            bench_page::write(folder, &found)?;
        }
        self.print(&found)?;
        Ok(if failed == 0 && well { Outcome::Done } else { Outcome::No })
    }

    /// What is measured: the files, or the data set.
    fn names(&self) -> Result<Vec<&Path>> {
        match &self.data {
            Some(name) => Ok(vec![Path::new(name)]),
            None if self.input.is_empty() => bail!("expected --input R.jsonl or --data NAME"),
            None => Ok(self.input.iter().map(PathBuf::as_path).collect()),
        }
    }

    /// The records of the file, or of the data set, and how many others cannot be read.
    fn records(&self, name: &Path) -> Result<(Vec<Record>, usize)> {
        match &self.data {
            Some(data) => Ok(told(self.source.records(self.source.open(data)?))),
            None => readable(name),
        }
    }

    fn settings(&self) -> BenchSettings {
        let scores = (!self.scores.is_empty()).then(|| self.scores.clone());
        let &Self { resamples, seed, .. } = self;
        BenchSettings { scores, resamples, seed, group_by: self.group_by.clone(), timed: true, ..BenchSettings::default() }
    }

    fn print(&self, found: &[(&Path, Bench)]) -> Result<()> {
        let ranks = mean_ranks(&found.iter().map(|(_, bench)| bench).collect::<Vec<_>>());
        match (self.json, found) {
            (true, [(_, bench)]) => output::json(bench),
            (true, _) => {
                let inputs: Vec<_> = found.iter().map(|(input, bench)| json!({ "input": input, "bench": bench })).collect();
                output::json(&json!({ "inputs": inputs, "mean_ranks": ranks }))
            }
            (false, [(_, bench)]) => bench_table::table(bench).into_iter().try_for_each(output::line),
            (false, _) => {
                for (input, bench) in found {
                    output::line(input.display().to_string())?;
                    bench_table::table(bench).into_iter().try_for_each(output::line)?;
                }
                for (input, _) in found.iter().filter(|(_, bench)| bench.rows.is_empty()) {
                    output::line(format!("{} has no AUROC and does not count among the ranks", input.display()))?;
                }
                bench_table::ranks(&ranks).into_iter().try_for_each(output::line)
            }
        }
    }
}
