//! `coppice ls`: what the Hub cache holds.

use anyhow::Result;
use clap::Args;
use coppice_models::hub::{CachedRepo, Hub};
use serde_json::json;

use crate::common::Outcome;
use crate::output;

/// Lists the checkpoints in the Hub cache.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl LsArgs {
    /// Runs the command.
    pub fn run(&self) -> Result<Outcome> {
        let repos = Hub::from_env()?.ls()?;
        if self.json {
            output::json(&json!({ "repos": repos }))?;
        } else if repos.is_empty() {
            output::line("nothing is pulled yet; `coppice pull ID` brings a checkpoint")?;
        }
        if !self.json {
            repos.iter().flat_map(lines).try_for_each(output::line)?;
        }
        Ok(Outcome::Done)
    }
}

fn lines(repo: &CachedRepo) -> Vec<String> {
    let line = |revision: &coppice_models::hub::CachedRevision| {
        let names = if revision.refs.is_empty() { "-".to_owned() } else { revision.refs.join(",") };
        let short = revision.commit.get(..12).unwrap_or(&revision.commit);
        let lacks = revision.missing.as_ref().map(|missing| format!("  (incomplete: {missing})")).unwrap_or_default();
        format!("{:<44} {short:<12} {names:<10} {:>9.3} GB{lacks}", repo.id, revision.bytes as f64 / 1e9)
    };
    repo.revisions.iter().map(line).collect()
}
