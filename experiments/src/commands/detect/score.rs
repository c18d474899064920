//! `coppice detect score`: records to verdicts.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use coppice_detect::reader::RecordError;
use coppice_detect::{Case, Record, score_case};
use coppice_models::fs::Existing;
use serde_json::{Value, json};

use super::setup::{SetupArgs, tell_truncated};
use super::{chosen, open};
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
        let scorers = chosen(&self.scores)?;
        let setup = self.setup.open()?;
        let items = open(&self.input)?;
        let failed = items.iter().filter(|item| item.is_err()).count();
        let line = |item: &Result<Record, RecordError>| -> Result<Value> {
            check_interrupt().map_err(|_| Interrupted::NothingWritten)?;
            Ok(match item {
                Ok(record) => serde_json::to_value(score_case(&Case::with(record, &setup), &scorers))?,
                Err(error) => json!({ "id": error.id, "error": error.to_string() }),
            })
        };
        let lines = items.iter().map(line).collect::<Result<Vec<_>>>()?;
        let existing = if self.overwrite { Existing::Replace } else { Existing::Refuse };
        tell_truncated(&setup);
        jsonl::write(&self.output, existing, lines)?;
        if self.json {
            output::json(&json!({ "records": items.len(), "failed": failed, "output": self.output }))?;
        } else {
            output::line(format!("{} verdicts, {failed} failed: {}", items.len() - failed, self.output.display()))?;
        }
        Ok(if failed == 0 { Outcome::Done } else { Outcome::No })
    }
}
