//! The commands, one file each.

mod data;
mod detect;
mod doctor;
mod energy;
mod eval;
mod flops;
mod generate;
mod inspect;
mod ls;
mod merge_experts;
mod pull;
mod report;
mod run;
mod score;
mod train;
mod upcycle;

use anyhow::Result;
use clap::Subcommand;

use crate::common::Outcome;

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    Doctor(doctor::DoctorArgs),
    Pull(pull::PullArgs),
    Ls(ls::LsArgs),
    Score(score::ScoreArgs),
    Generate(Box<generate::GenerateArgs>),
    Eval(Box<eval::EvalArgs>),
    Flops(flops::FlopsArgs),
    Energy(Box<energy::EnergyArgs>),
    Upcycle(Box<upcycle::UpcycleArgs>),
    Train(train::TrainArgs),
    Inspect(Box<inspect::InspectArgs>),
    MergeExperts(merge_experts::MergeArgs),
    Data(data::DataArgs),
    Detect(detect::DetectArgs),
    Run(run::RunArgs),
    Report(report::ReportArgs),
}

impl Command {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        match self {
            Self::Doctor(command) => command.run(),
            Self::Pull(command) => command.run(),
            Self::Ls(command) => command.run(),
            Self::Score(command) => command.run(),
            Self::Generate(command) => command.run(),
            Self::Eval(command) => command.run(),
            Self::Flops(command) => command.run(),
            Self::Energy(command) => command.run(),
            Self::Upcycle(command) => command.run(),
            Self::Train(command) => command.run(),
            Self::Inspect(command) => command.run(),
            Self::MergeExperts(command) => command.run(),
            Self::Data(command) => command.run(),
            Self::Detect(command) => command.run(),
            Self::Run(command) => command.run(),
            Self::Report(command) => command.run(),
        }
    }
}
