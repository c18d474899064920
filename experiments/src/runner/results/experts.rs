//! What the experts of every model became, as the report shows it.

use anyhow::{Context, Result};
use coppice_reports::data::ExpertReport;

use crate::runner::Trained;
use crate::runner::lab::{EXPERTS, Grown};

/// The looks at the experts of all routed models.
pub fn experts(trained: &[Trained]) -> Result<Vec<ExpertReport>> {
    trained.iter().filter_map(|model| look(&model.grown).transpose()).collect()
}

/// The look at one model's experts; none for a dense one.
pub fn look(grown: &Grown) -> Result<Option<ExpertReport>> {
    let Some(stage) = &grown.experts else { return Ok(None) };
    let path = stage.folder.join(EXPERTS);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?))
}
