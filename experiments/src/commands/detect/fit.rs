//! `coppice detect fit`: records to learned scores.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use coppice_detect::fitted::{Fit, FitReport, Fitted};
use coppice_detect::scores::{Training, find, registry};
use coppice_detect::{Record, Setup};
use coppice_models::fs::{AtomicFile, Existing};
use serde_json::json;

use super::setup::{SetupArgs, tell};
use super::{groups, readable};
use crate::common::{Outcome, refuse_existing};
use crate::output;

/// Fits the learned scores and says how each does on records it has not seen; one that cannot be fitted is left out, exit 1 if it was asked for.
#[derive(Debug, Args)]
pub(super) struct DetectFitArgs {
    /// Records, one JSON object a line; some scores need labels (1 = wrong).
    #[arg(long, value_name = "R.jsonl")]
    input: PathBuf,
    /// Fitted scores, for `--fitted` of score, bench and calibrate.
    #[arg(long, value_name = "FITTED.json")]
    output: PathBuf,
    /// Learned scores to fit; default: all that the records allow.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    scores: Vec<String>,
    /// Scores the ensemble combines; default: all that are not learned and that half of the records have, `length` excepted.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    ensemble_of: Vec<String>,
    /// Records of no particular domain, which relative_mahalanobis compares with.
    #[arg(long, value_name = "R.jsonl")]
    background: Option<PathBuf>,
    /// Field of `source` that names what records have in common (a person): they stay together in cross-validation.
    #[arg(long, value_name = "FIELD")]
    group_by: Option<String>,
    #[command(flatten)]
    setup: SetupArgs,
    /// Folds of the cross-validation; 0 for none.
    #[arg(long, default_value_t = 5, value_name = "N")]
    folds: usize,
    /// Seed of the folds and of whatever the fits draw.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Replace the output if it exists.
    #[arg(long)]
    overwrite: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl DetectFitArgs {
    pub(super) fn run(&self) -> Result<Outcome> {
        refuse_existing(&self.output, self.overwrite)?;
        self.ensemble_of.iter().try_for_each(|name| find(name).map(drop))?;
        let (records, mut failed) = readable(&self.input)?;
        let (background, more) = self.background.as_deref().map_or(Ok((Vec::new(), 0)), readable)?;
        failed += more;
        let setup = self.setup.open()?;
        let fit = Fitted::fit(&self.names(), &self.training(&records, &background, &setup)?, self.folds)?;
        let well = tell(&setup);
        if fit.reports.is_empty() {
            bail!("nothing could be fitted: {}", listed(&fit).join("; "));
        }
        self.write(&fit.fitted)?;
        self.print(&fit, records.len())?;
        let whole = failed == 0 && (self.scores.is_empty() || fit.failures.is_empty());
        Ok(if whole && well { Outcome::Done } else { Outcome::No })
    }

    fn names(&self) -> Vec<String> {
        if !self.scores.is_empty() {
            return self.scores.clone();
        }
        registry().iter().filter(|scorer| scorer.learned().is_some()).map(|scorer| scorer.name().to_owned()).collect()
    }

    fn training<'a>(&self, records: &'a [Record], background: &'a [Record], setup: &'a Setup) -> Result<Training<'a>> {
        let records: Vec<&Record> = records.iter().collect();
        let members = (!self.ensemble_of.is_empty()).then(|| self.ensemble_of.clone());
        let groups = groups(&records, self.group_by.as_deref())?;
        Ok(Training { groups, background: background.iter().collect(), members, seed: self.seed, ..Training::new(records, setup) })
    }

    fn write(&self, fitted: &Fitted) -> Result<()> {
        let existing = if self.overwrite { Existing::Replace } else { Existing::Refuse };
        let mut file = AtomicFile::create(&self.output, existing)?;
        file.write_all(fitted.to_json()?.as_bytes())?;
        file.write_all(b"\n")?;
        Ok(file.commit()?)
    }

    fn print(&self, fit: &Fit, records: usize) -> Result<()> {
        if self.json {
            let failures: BTreeMap<&String, String> = fit.failures.iter().map(|(score, error)| (score, error.to_string())).collect();
            return output::json(&json!({ "records": records, "output": self.output, "fitted": fit.reports, "failures": failures }));
        }
        fit.reports.iter().map(sentence).try_for_each(output::line)?;
        listed(fit).into_iter().try_for_each(|line| output::line(format!("not fitted: {line}")))
    }
}

fn listed(fit: &Fit) -> Vec<String> {
    fit.failures.iter().map(|(score, error)| format!("{score}: {error}")).collect()
}

fn sentence(report: &FitReport) -> String {
    let FitReport { score, summary, held_out_auroc, held_out_records, .. } = report;
    let held_out = match held_out_auroc {
        Some(auroc) => format!("AUROC {auroc:.3} on {held_out_records} records by fits that had not seen them"),
        None => "not cross-validated".to_owned(),
    };
    format!("{score}: {held_out}; {summary}")
}
