//! `coppice detect score`: records to verdicts.

use std::io::{BufReader, Write};
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use coppice_detect::calibration::Calibrator;
use coppice_detect::reader::{Reason, RecordError};
use coppice_detect::scores::{Scorer, find};
use coppice_detect::{Case, Verdict, score_case, score_stream};
use coppice_models::fs::{AtomicFile, Existing};
use serde_json::{Value, json};

use super::setup::{SetupArgs, tell};
use super::{calibrator, chosen};
use crate::common::{Interrupted, Outcome, check_interrupt, open_file, progress, refuse_existing, refuse_same};
use crate::output;

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
    /// Take responses apart: sentences, claims, names, numbers and dates, each with its place (characters), scores and support by the samples.
    #[arg(long)]
    spans: bool,
    #[command(flatten)]
    setup: SetupArgs,
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
        refuse_same(&self.input, &self.output)?;
        let calibrator = self.calibrator.as_deref().map(calibrator::read).transpose()?;
        let (scorers, setup) = (self.scorers(calibrator.as_ref())?, self.setup.open()?);
        self.matches(calibrator.as_ref())?;
        let input = open_file(&self.input)?;
        let existing = if self.overwrite { Existing::Replace } else { Existing::Refuse };
        let (mut file, mut scored) = (AtomicFile::create(&self.output, existing)?, Vec::new());
        let bytes = progress(input.metadata().map_or(0, |metadata| metadata.len()), "bytes");
        let verdict = |case: &Case<'_>| self.verdict(case, &scorers, calibrator.as_ref());
        let tally = score_stream(BufReader::new(bytes.wrap_read(input)), &setup, verdict, |verdict| {
            check_interrupt().map_err(|_| Interrupted::NothingWritten)?;
            let calibrated = calibrator.as_ref().zip(verdict.as_ref().ok());
            scored.extend(calibrated.and_then(|(calibrator, verdict)| verdict.scores.get(&calibrator.score)));
            serde_json::to_writer(&mut file, &self.line(verdict)?)?;
            Ok::<_, anyhow::Error>(file.write_all(b"\n")?)
        })?;
        file.commit()?;
        let well = tell(&setup);
        if let Some(calibrator) = calibrator.as_ref().filter(|_| scored.is_empty() && tally.lines > tally.failed) {
            output::say(format!("no record has {}, which the calibrator reads: all are left to review", calibrator.score));
        }
        let drift = calibrator.as_ref().and_then(|calibrator| calibrator::drift(calibrator, &scored));
        if self.json {
            output::json(&json!({ "records": tally.lines, "failed": tally.failed, "output": self.output, "drift": drift }))?;
        } else {
            output::line(format!("{} verdicts, {} failed: {}", tally.lines - tally.failed, tally.failed, self.output.display()))?;
        }
        Ok(if tally.failed == 0 && well { Outcome::Done } else { Outcome::No })
    }

    /// The verdict; none worth having once the user has asked to stop.
    fn verdict(&self, case: &Case<'_>, scorers: &[&dyn Scorer], calibrator: Option<&Calibrator>) -> Verdict {
        if check_interrupt().is_err() {
            return Verdict::default();
        }
        let mut verdict = score_case(case, scorers);
        if self.spans {
            verdict = verdict.with_parts(case);
        }
        match calibrator {
            Some(calibrator) => verdict.decide(calibrator),
            None => verdict,
        }
    }

    /// A verdict, or what was wrong with a line.
    fn line(&self, verdict: Result<Verdict, RecordError>) -> Result<Value> {
        match verdict {
            Ok(verdict) => Ok(serde_json::to_value(verdict)?),
            Err(RecordError { reason: Reason::EmptyInput, .. }) => bail!("{} is empty", self.input.display()),
            Err(error) => Ok(json!({ "id": error.id, "error": error.to_string() })),
        }
    }

    /// Refuses a calibrator whose score was compared or learnt otherwise.
    fn matches(&self, calibrator: Option<&Calibrator>) -> Result<()> {
        let Some(Calibrator { score, setup: Some(made), .. }) = calibrator else { return Ok(()) };
        let given = self.setup.description()?;
        if *made != given {
            bail!(
                "the calibrator's {score} was computed with {made}, here it would be with {given}: give the same options, or calibrate again"
            );
        }
        Ok(())
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
