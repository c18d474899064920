//! Which piece of a file every parameter of the model is, each found once and of the right size.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use coppice_models::Config;
use coppice_models::tensors::{TensorSpec, expected};

use super::Told;
use super::flat::{Piece, Pieces};
use super::names::{Part, neox};
use crate::train::error::{Result, TrainError};

/// Where a parameter's numbers are.
#[derive(Debug)]
pub(super) struct Place {
    /// Its shape in the model.
    pub(super) shape: Vec<i64>,
    pub(super) part: Part,
    pub(super) pieces: Vec<Piece>,
}

/// The place of every parameter of a dense model, by its name; norm biases may be absent.
///
/// # Errors
/// A sentence naming what is absent, unknown or of another size.
pub(super) fn places(path: &Path, config: &Config, found: &Pieces) -> Result<BTreeMap<String, Place>> {
    let refuse = |reason: String| TrainError::checkpoint(path, reason);
    let (mut places, mut used, mut absent) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    for spec in expected(config) {
        match find(config, &spec.name, found) {
            Some((name, part, pieces)) => {
                used.insert(name);
                let place = Place { shape: spec.shape.clone(), part, pieces: pieces.to_vec() };
                place.fits(config, &spec).map_err(refuse)?;
                places.insert(spec.name, place);
            }
            None if spec.optional => {}
            None => absent.push(spec.name),
        }
    }
    let unknown: Vec<String> = found.keys().filter(|name| !used.contains(*name)).cloned().collect();
    few(&absent).map_or(Ok(()), |names| Err(refuse(format!("holds nothing of {names}: it is not the state of this model"))))?;
    few(&unknown).map_or(Ok(()), |names| Err(refuse(format!("holds {names}, which this model does not have"))))?;
    Ok(places)
}

/// A parameter by its own name, else by that of NeoX.
fn find<'a>(config: &Config, name: &str, found: &'a Pieces) -> Option<(String, Part, &'a [Piece])> {
    if let Some(pieces) = found.get(name) {
        return Some((name.to_owned(), Part::Whole, pieces));
    }
    let (name, part) = neox(config, name)?;
    let pieces = found.get(&name)?;
    Some((name, part, pieces))
}

impl Place {
    /// Refuses a parameter of another size. Rows beyond the vocabulary, which pad it, are left out.
    fn fits(&self, config: &Config, spec: &TensorSpec) -> Told<()> {
        let (found, wanted) = (self.pieces.iter().map(|piece| piece.range.len() as i64).sum::<i64>(), spec.numel());
        let vocabulary = matches!(spec.name.as_str(), "model.embed_tokens.weight" | "lm_head.weight");
        let holds = match self.part {
            Part::Whole if vocabulary => found >= wanted && found % config.hidden_size == 0,
            Part::Whole => found == wanted,
            Part::Heads(_) if config.num_key_value_heads != config.num_attention_heads => {
                return Err(format!("{} is a part of query_key_value, whose order is not known for grouped queries", spec.name));
            }
            Part::Heads(_) => found == 3 * wanted,
        };
        let times = if self.part == Part::Whole { "" } else { "three times " };
        if holds { Ok(()) } else { Err(format!("{} has {found} elements there, expected {times}{wanted} ({:?})", spec.name, spec.shape)) }
    }
}

fn few(names: &[String]) -> Option<String> {
    let (shown, more) = (names.iter().take(4).cloned().collect::<Vec<_>>().join(", "), names.len().saturating_sub(4));
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| format!("{shown}{more}"))
}
