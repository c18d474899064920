//! `coppice detect score`: records to verdicts.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use coppice_detect::calibration::Calibrator;
use coppice_detect::scores::{Scorer, find};
use coppice_detect::{Case, Verdict, score_case};
use coppice_models::fs::Existing;
use serde_json::json;

use super::{calibrator, chosen, fitted, open};
use crate::common::{Interrupted, Outcome, check_interrupt, refuse_existing};
use crate::{jsonl, output};

/// Scores every record; a bad line becomes {"id", "error"}, the rest is done, exit 1.
#[derive(Debug, Args)]
pub(super) struct DetectScoreArgs {
    /// Records, one JSON object a line (`coppice generate --json` makes them).
    #[arg(long, value_name = "R.jsonl")]
    input: PathBuf,
    /// Verdicts, one JSON object a line.
    #[arg(long, value_name = "V.jsonl")]
    output: PathBuf,
    /// Scores to compute; default: all.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    scores: Vec<String>,
    /// Calibrator (`coppice detect calibrate` makes it): fills in probability, threshold, verdict and evidence.
    #[arg(long, value_name = "F.json")]
    calibrator: Option<PathBuf>,
    /// Learned scores (`coppice detect fit` makes them).
    #[arg(long, value_name = "FITTED.json")]
    fitted: Option<PathBuf>,
    /// Replace the output if it exists.
    #[arg(long)]
    overwrite: bool,
    /// Print a summary as one JSON object.
    #[arg(long)]
    json: bool,
}

impl DetectScoreArgs {
    pub(super) fn run(&self) -> Result<Outcome> {
        refuse_existing(&self.output, self.overwrite)?;
        let calibrator = self.calibrator.as_deref().map(calibrator::read).transpose()?;
        let (scorers, setup) = (self.scorers(calibrator.as_ref())?, fitted::setup(self.fitted.as_deref())?);
        let items = open(&self.input)?;
        let failed = items.iter().filter(|item| item.is_err()).count();
        let (mut lines, mut scored) = (Vec::new(), Vec::new());
        for item in &items {
            check_interrupt().map_err(|_| Interrupted::NothingWritten)?;
            lines.push(match item {
                Ok(record) => {
                    let verdict = decided(score_case(&Case::with(record, &setup), &scorers), calibrator.as_ref());
                    scored.extend(calibrator.as_ref().and_then(|calibrator| verdict.scores.get(&calibrator.score)));
                    serde_json::to_value(verdict)?
                }
                Err(error) => json!({ "id": error.id, "error": error.to_string() }),
            });
        }
        let existing = if self.overwrite { Existing::Replace } else { Existing::Refuse };
        jsonl::write(&self.output, existing, lines)?;
        let drift = calibrator.as_ref().and_then(|calibrator| calibrator::drift(calibrator, &scored));
        if self.json {
            output::json(&json!({ "records": items.len(), "failed": failed, "output": self.output, "drift": drift }))?;
        } else {
            output::line(format!("{} verdicts, {failed} failed: {}", items.len() - failed, self.output.display()))?;
        }
        Ok(if failed == 0 { Outcome::Done } else { Outcome::No })
    }

    /// The scores asked for, and the one that the calibrator reads.
    fn scorers(&self, calibrator: Option<&Calibrator>) -> Result<Vec<&'static dyn Scorer>> {
        let mut scorers = chosen(&self.scores)?;
        if let Some(Calibrator { score, .. }) = calibrator.filter(|read| scorers.iter().all(|scorer| scorer.name() != read.score)) {
            scorers.push(find(score)?);
        }
        Ok(scorers)
    }
}

fn decided(verdict: Verdict, calibrator: Option<&Calibrator>) -> Verdict {
    match calibrator {
        Some(calibrator) => verdict.decide(calibrator),
        None => verdict,
    }
}
