//! What every parameter of a checkpoint is in the dense model it grew from, by the word of its `coppice.json`.

use std::collections::BTreeMap;
use std::path::Path;

use coppice_models::Checkpoint;
use serde::Deserialize;

use crate::convert::MANIFEST;
use crate::train::error::{Result, TrainError};

/// What a parameter is in the dense model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// Itself.
    Same,
    /// An expert's copy of this parameter, element for element.
    Copy(String),
    /// The same with the hidden units in the order drawn from this seed.
    Shuffled(String, u64),
    /// Computed in this way from parameters of the dense model.
    Made(String),
    /// Nothing: it came with the conversion.
    New,
}

/// The origin of every parameter.
#[derive(Debug)]
pub(super) struct Origins(Option<BTreeMap<String, Origin>>);

/// The part of `coppice.json` that matters here.
#[derive(Debug, Deserialize)]
struct Record {
    options: Choices,
    tensors: BTreeMap<String, Account>,
    #[serde(default)]
    made: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Choices {
    method: String,
    seed: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Account {
    kept: bool,
    copied_to: Vec<String>,
    made_into: BTreeMap<String, String>,
}

impl Origins {
    /// Those of a checkpoint: of a dense model, every parameter itself; of a converted one, what its record says.
    pub(super) fn read(checkpoint: &Checkpoint) -> Result<Self> {
        if checkpoint.config.moe.is_none() {
            return Ok(Self(None));
        }
        let path = checkpoint.folder.join(MANIFEST);
        let text = std::fs::read_to_string(&path).map_err(|error| untold(&path, &error.to_string()))?;
        let record: Record = serde_json::from_str(&text).map_err(|error| untold(&path, &error.to_string()))?;
        Ok(Self(Some(record.origins())))
    }

    /// That of a stored parameter.
    pub(super) fn of(&self, name: &str) -> Origin {
        self.0.as_ref().map_or(Origin::Same, |all| all.get(name).cloned().unwrap_or(Origin::New))
    }
}

impl Record {
    fn origins(self) -> BTreeMap<String, Origin> {
        let mut all: BTreeMap<String, Origin> = self.made.into_iter().map(|(name, how)| (name, Origin::Made(how))).collect();
        for (dense, account) in self.tensors {
            if self.options.method == "shuffle" {
                let shuffled = |name: &String| (name.clone(), Origin::Shuffled(dense.clone(), self.options.seed));
                all.extend(account.made_into.keys().map(shuffled));
            }
            all.extend(account.copied_to.into_iter().map(|name| (name, Origin::Copy(dense.clone()))));
            if account.kept {
                all.insert(dense, Origin::Same);
            }
        }
        all
    }
}

fn untold(path: &Path, reason: &str) -> TrainError {
    TrainError::checkpoint(path, format!("does not say how the experts came from the dense model the optimizer state is of ({reason})"))
}
