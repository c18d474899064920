//! `coppice detect bench`: how well every score tells wrong answers from right ones.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use coppice_detect::bench::{Bench, BenchSettings, bench};
use coppice_detect::metrics::Interval;

use super::{chosen, open};
use crate::common::Outcome;
use crate::output;

/// How well every score tells wrong answers from right ones, on labelled records, with bootstrap intervals.
#[derive(Debug, Args)]
pub(super) struct DetectBenchArgs {
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

impl DetectBenchArgs {
    pub(super) fn run(&self) -> Result<Outcome> {
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
        let found = bench(&records, &BenchSettings { scores, resamples: self.resamples, confidence: 0.95, seed: self.seed, ..BenchSettings::default() })?;
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
