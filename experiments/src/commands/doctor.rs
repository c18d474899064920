//! `coppice doctor`: what this machine is and how fast.

use anyhow::Result;
use clap::Args;
use coppice_models::doctor::DoctorReport;

use crate::common::Outcome;
use crate::output;

/// libtorch version, ABI, threads, CUDA, memory bandwidth and matmul rate of this machine.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl DoctorArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        let report = DoctorReport::measure()?;
        if self.json {
            output::json(&report)?;
        } else {
            output::line(report.to_string())?;
        }
        Ok(Outcome::Done)
    }
}
