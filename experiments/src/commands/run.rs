//! `coppice run`: a whole experiment from one recipe.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use coppice_models::device::DeviceChoice;

use crate::common::Outcome;
use crate::runner::recipe::Recipe;
use crate::runner::results::headline;
use crate::runner::{Run, folder_of};
use crate::{output, toml_file};

/// Runs a recipe: stages are cached by content, so a second run takes seconds and a killed one goes on where it stopped.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Recipe (TOML).
    recipe: PathBuf,
    /// Run folder; default: runs/<name of the recipe>.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Device: auto, cpu or cuda:N.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,
    /// Check the recipe, say what would run, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Print the results as one JSON object.
    #[arg(long)]
    json: bool,
}

impl RunArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        let recipe: Recipe = toml_file::read(&self.recipe)?;
        let folder = folder_of(&recipe, self.output.as_deref());
        if self.dry_run {
            recipe.check()?;
            let (arms, seeds) = (recipe.arms.len(), recipe.seeds.len());
            output::line(format!("{}: one dense pre-training, then {arms} arms x {seeds} seeds, into {}", recipe.name, folder.display()))?;
            return Ok(Outcome::Done);
        }
        let (page, report) = Run::new(recipe, folder, self.device)?.go()?;
        if self.json {
            output::json(&report)?;
            return Ok(Outcome::Done);
        }
        headline(&report).into_iter().try_for_each(output::line)?;
        output::line(format!("report: {}", page.display()))?;
        Ok(Outcome::Done)
    }
}
