//! `coppice pull`: a checkpoint into the Hub cache.

use anyhow::Result;
use clap::Args;
use coppice_models::hub::{Hub, Progress, PullOptions, RepoId};

use crate::common::{Outcome, progress};
use crate::output;

/// Brings a checkpoint into the Hub cache, verified; honours HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// Repository, for example stabilityai/stablelm-2-1_6b.
    id: String,
    /// Branch, tag or commit.
    #[arg(long, default_value = "main", value_name = "REV")]
    revision: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl PullArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        let id: RepoId = self.id.parse()?;
        let bar = progress(0, "pull");
        let mut told = |progress: &Progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.bytes);
            bar.set_message(progress.file.to_owned());
        };
        let pulled = Hub::from_env()?.pull(&id, Some(&self.revision), &PullOptions::default(), &mut told)?;
        bar.finish_and_clear();
        if self.json {
            output::json(&pulled)?;
        } else {
            output::line(pulled.snapshot.display().to_string())?;
        }
        Ok(Outcome::Done)
    }
}
