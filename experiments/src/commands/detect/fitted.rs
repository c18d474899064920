//! The file of fitted scores as other commands read it.

use std::path::Path;

use anyhow::{Context, Result};
use coppice_detect::Setup;
use coppice_detect::fitted::Fitted;

use crate::common::read_text;

/// What scores run with: the default back-ends, and what was fitted if a file is given.
pub(super) fn setup(path: Option<&Path>) -> Result<Setup> {
    let fitted = match path {
        Some(path) => Fitted::from_json(&read_text(path)?).with_context(|| path.display().to_string())?,
        None => Fitted::default(),
    };
    Ok(Setup { fitted, ..Setup::default() })
}
