//! What the experts of every model became, as the report shows it.

use anyhow::{Context, Result};
use coppice_reports::data::ExpertReport;

use super::Found;
use crate::runner::lab::{EXPERTS, Grown};

/// The looks at the experts of all routed models, the world's first; those of the text say so in their name.
pub fn experts(found: &Found) -> Result<Vec<ExpertReport>> {
    let world = found.trained.iter().filter_map(|model| look(&model.grown).transpose());
    let text = found.on_text.iter().filter_map(|grown| look(grown).transpose()).map(|report| Ok(of_text(report?)));
    world.chain(text).collect()
}

fn of_text(report: ExpertReport) -> ExpertReport {
    ExpertReport { arm: format!("{} on text", report.arm), label: format!("{} (text)", report.label), ..report }
}

/// The look at one model's experts; none for a dense one.
pub fn look(grown: &Grown) -> Result<Option<ExpertReport>> {
    let Some(stage) = &grown.experts else { return Ok(None) };
    let path = stage.folder.join(EXPERTS);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?))
}
