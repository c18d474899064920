//! `coppice`: upcycle StableLM 2, measure what the experts are worth, and tell which answers are made up.
//!
//! This file only maps results to exit codes: 0 done, 1 ran and the answer is no, 2 usage or error, 130 interrupted.

#![expect(unreachable_pub, reason = "a binary's modules speak to each other through pub")]

mod answering;
mod commands;
mod common;
mod energy;
mod eval;
mod journal;
mod jsonl;
mod launch;
mod memory;
mod output;
mod runner;
mod toml_file;
mod training;

use std::process::ExitCode;

use clap::Parser;
use coppice_upcycle::train::TrainError;

use crate::commands::Command;
use crate::common::Outcome;

/// Turns dense StableLM 2 checkpoints into mixtures of experts, measures them, and flags their hallucinations.
#[derive(Debug, Parser)]
#[command(name = "coppice", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    // Small models decode and score in blocks of a few MiB.
    coppice_models::allocator::keep_freed(64, 512);
    let cli = Cli::parse();
    common::watch_for_interrupts();
    match cli.command.run() {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        Ok(Outcome::Exit(code)) => ExitCode::from(code),
        Err(error) if error.is::<output::ReaderGone>() => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            code_of(&error)
        }
    }
}

/// Interrupted work exits with 130, training that left the finite numbers or its course with 1, everything else with 2.
fn code_of(error: &anyhow::Error) -> ExitCode {
    let diverged = |error: &TrainError| matches!(error, TrainError::NonFinite { .. } | TrainError::Spike { .. } | TrainError::Lost { .. });
    if common::is_interruption(error) {
        ExitCode::from(130)
    } else if error.downcast_ref().is_some_and(diverged) {
        ExitCode::from(1)
    } else {
        ExitCode::from(2)
    }
}
