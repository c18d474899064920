//! `coppice report`: the page of a finished run, made again.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use coppice_reports::Report;
use serde_json::json;

use crate::common::{Outcome, read_text};
use crate::output;
use crate::runner::results::page;

/// Makes the report of a run again from its results.json.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Run folder.
    run: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl ReportArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        let path = self.run.join("results.json");
        let report: Report = serde_json::from_str(&read_text(&path)?).with_context(|| path.display().to_string())?;
        let page = page(&self.run, &report)?;
        if self.json {
            output::json(&json!({ "run": self.run, "page": page }))?;
        } else {
            output::line(page.display().to_string())?;
        }
        Ok(Outcome::Done)
    }
}
