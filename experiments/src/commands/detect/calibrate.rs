//! `coppice detect calibrate`: labelled records to a calibrator, chosen and fitted on one part of them, judged on the other.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use coppice_detect::Record;
use coppice_detect::calibration::{Calibrated, Candidate, Method, Settings, calibrate};
use coppice_detect::guarantee::Control;
use coppice_detect::scores::{Cost, LENGTH, Scorer, find, registry};
use coppice_models::fs::{AtomicFile, Existing};
use serde_json::{Value, json};

use super::setup::{SetupArgs, tell};
use super::{calibrated, groups, readable};
use crate::common::{Outcome, refuse_existing};
use crate::output;

/// Any of those there are.
const AUTO: &str = "auto";

/// Fits a calibrator: from a score to a probability of being wrong, and to accept, review and flag with a promise.
#[derive(Debug, Args)]
pub(super) struct DetectCalibrateArgs {
    /// Labelled records (label 1 = wrong), one JSON object a line.
    #[arg(long, value_name = "R.jsonl")]
    input: PathBuf,
    /// Calibrator, for `coppice detect score --calibrator`.
    #[arg(long, value_name = "F.json")]
    output: PathBuf,
    /// Score to calibrate; auto: the best in cross-validation, `length` excepted.
    #[arg(long, default_value = AUTO, value_name = "NAME")]
    score: String,
    /// platt, temperature, isotonic, centred_isotonic or bins; auto: the best in cross-validation.
    #[arg(long, default_value = AUTO, value_name = "METHOD")]
    method: String,
    #[command(flatten)]
    setup: SetupArgs,
    /// Largest share of wrong answers among those accepted, and of right ones among those flagged.
    #[arg(long, default_value_t = 0.1, value_name = "A")]
    alpha: f64,
    /// How surely: over draws of the calibration answers; also the confidence of the intervals.
    #[arg(long, default_value_t = 0.9, value_name = "C")]
    confidence: f64,
    /// Bound instead, in expectation, the share of answers accepted and wrong (flagged and right) among all.
    #[arg(long)]
    joint: bool,
    /// Flag from this probability of being wrong on, without a promise.
    #[arg(long, value_name = "P")]
    flag_from: Option<f64>,
    /// Field of `source` that names what answers have in common (a person): they stay in one part, and count once in the promise.
    #[arg(long, value_name = "FIELD")]
    group_by: Option<String>,
    /// Share of the answers to choose and fit on; the others judge.
    #[arg(long, default_value_t = 0.5, value_name = "S")]
    split: f64,
    /// Bootstrap resamples of each interval.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    resamples: usize,
    /// Seed of the split, the folds, the resamples.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Replace the output if it exists.
    #[arg(long)]
    overwrite: bool,
    /// Print one JSON object: the calibrator, and how every score and method did.
    #[arg(long)]
    json: bool,
}

impl DetectCalibrateArgs {
    pub(super) fn run(&self) -> Result<Outcome> {
        refuse_existing(&self.output, self.overwrite)?;
        let (scorers, settings, setup) = (self.scorers()?, self.settings()?, self.setup.open()?);
        let (records, failed) = self.labelled()?;
        let labelled: Vec<(&Record, bool)> = records.iter().filter_map(|record| Some((record, record.wrong()?))).collect();
        let (records, wrong): (Vec<&Record>, Vec<bool>) = labelled.into_iter().unzip();
        if records.is_empty() {
            bail!("none of the records of {} has a label; calibration needs `label`: 1 for wrong, 0 for right", self.input.display());
        }
        let scores = Candidate::all(&records, &scorers, &setup);
        let well = tell(&setup);
        let mut found = calibrate(&scores, &wrong, &groups(&records, self.group_by.as_deref())?, &settings)?;
        found.calibrator.source = Some(self.source(&records));
        found.calibrator.setup = depends(&found.calibrator.score)?.then(|| self.setup.description()).transpose()?;
        self.write(&found)?;
        calibrated::print(&found, &settings, self.json)?;
        Ok(if failed == 0 && well { Outcome::Done } else { Outcome::No })
    }

    fn scorers(&self) -> Result<Vec<&'static dyn Scorer>> {
        if self.score != AUTO {
            return Ok(vec![find(&self.score)?]);
        }
        Ok(registry().iter().copied().filter(|scorer| scorer.name() != LENGTH).collect())
    }

    fn settings(&self) -> Result<Settings> {
        let methods =
            if self.method == AUTO { Method::ALL.to_vec() } else { vec![self.method.parse().map_err(|told: String| anyhow!(told))?] };
        let control = if self.joint { Control::JointRisk } else { Control::SelectiveRisk };
        let &Self { alpha, confidence, flag_from: flag, split, resamples, seed, .. } = self;
        Ok(Settings { methods, control, alpha, confidence, flag, split, resamples, seed, ..Settings::default() })
    }

    /// The records that can be read, and how many lines cannot.
    fn labelled(&self) -> Result<(Vec<Record>, usize)> {
        let (records, failed) = readable(&self.input)?;
        let unlabelled = records.iter().filter(|record| record.label.is_none()).count();
        if unlabelled > 0 && unlabelled < records.len() {
            output::say(format!("{unlabelled} of {} records have no label and are left out", records.len()));
        }
        Ok((records, failed))
    }

    /// Where the calibrator comes from; the model, where all records name the same.
    fn source(&self, records: &[&Record]) -> Value {
        let model = |record: &&Record| record.source.as_ref().and_then(|source| source.get("model")).cloned();
        let first = records.first().and_then(model);
        let shared = first.filter(|first| records.iter().all(|record| model(record).as_ref() == Some(first)));
        let file = self.input.file_name().map(|name| name.to_string_lossy().into_owned());
        json!({ "file": file, "records": records.len(), "model": shared, "group_by": self.group_by, "split": self.split, "seed": self.seed })
    }

    fn write(&self, found: &Calibrated) -> Result<()> {
        let existing = if self.overwrite { Existing::Replace } else { Existing::Refuse };
        let mut file = AtomicFile::create(&self.output, existing)?;
        file.write_all(found.calibrator.to_json()?.as_bytes())?;
        file.write_all(b"\n")?;
        Ok(file.commit()?)
    }
}

/// Whether a score depends on how texts are compared, or on what was learnt beforehand.
fn depends(score: &str) -> Result<bool> {
    let scorer = find(score)?;
    Ok(scorer.learned().is_some() || matches!(scorer.card().cost, Cost::Samples | Cost::Comparison))
}
