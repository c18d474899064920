//! `coppice detect list`: the registry of scores.

use anyhow::Result;
use clap::Args;
use coppice_detect::scores::{Scorer, registry};
use serde_json::json;

use crate::common::Outcome;
use crate::output;

/// Lists the scores: what each needs, what it costs, where it comes from.
#[derive(Debug, Args)]
pub(super) struct DetectListArgs {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl DetectListArgs {
    pub(super) fn run(&self) -> Result<Outcome> {
        if self.json {
            let entry = |scorer: &&dyn Scorer| {
                let card = scorer.card();
                json!({ "name": card.name, "summary": card.summary, "needs": card.needs, "cost": card.cost, "citation": card.citation,
                        "single_pass": scorer.single_pass(), "learned": scorer.learned().is_some() })
            };
            output::json(&json!({ "scores": registry().iter().map(entry).collect::<Vec<_>>() }))?;
            return Ok(Outcome::Done);
        }
        for scorer in registry() {
            output::line(format!("{:<28} {}", scorer.name(), scorer.card().summary))?;
            output::line(format!("{:<28}   cost: {}; {}", "", scorer.card().cost, scorer.card().citation))?;
        }
        Ok(Outcome::Done)
    }
}
