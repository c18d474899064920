//! Handing a dense model's state to the optimizer of that model, or of a mixture of experts that grew from it.
//!
//! Whatever the conversion kept goes on with its moments. Experts begin with moments of zero, or by choice with those of the matrix they
//! are copies of (sparse upcycling, arXiv 2212.05055, found that worth while for vision and not for language): each expert sees a part
//! of the tokens only, so that its parent's moments are larger than its own would be. Moments of zero beside a count of updates that goes
//! on are not corrected for their start; the first updates are then smaller than the rate, by 0.1 / √0.05 = 0.45 for betas 0.9 and 0.95.
//!
//! That the state is of these weights is not taken on trust: its f32 weights must round to those of the checkpoint.

use std::path::Path;

use coppice_models::Checkpoint;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::origins::{Origin, Origins};
use super::state::{DenseState, Kept};
use crate::methods::{Projection, unit_permutation};
use crate::train::error::{Result, TrainError};
use crate::train::optimizer::{AdamW, Inherited};

/// What experts get of their dense parent's moments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpertMoments {
    /// Nothing: they begin at zero.
    #[default]
    Zero,
    /// A copy for every expert that is a copy.
    Copy,
}

/// A state, and what of it goes where.
#[derive(Debug)]
pub struct Inheritance {
    state: DenseState,
    origins: Origins,
    experts: ExpertMoments,
    routed: bool,
}

impl Inheritance {
    /// Opens the state at `path` (see [`DenseState::open`]) for the model of a checkpoint: of the dense model itself, or of the dense model
    /// it was converted from, by the word of its `coppice.json`.
    ///
    /// # Errors
    /// As [`DenseState::open`], and where the checkpoint does not say how it was converted, or experts shall be given moments of which they
    /// are no copies.
    pub fn open(path: impl AsRef<Path>, checkpoint: &Checkpoint, experts: ExpertMoments) -> Result<Self> {
        let state = DenseState::open(path, &checkpoint.config)?;
        let inheritance = Self { state, origins: Origins::read(checkpoint)?, experts, routed: checkpoint.config.moe.is_some() };
        let mut names: Vec<&str> = checkpoint.names().collect();
        names.sort_unstable();
        names.into_iter().try_for_each(|name| inheritance.heir(name).map(drop))?;
        Ok(inheritance)
    }

    /// Updates that were made.
    pub fn step(&self) -> u64 {
        self.state.step()
    }

    /// Gives the optimizer its moments, master copies, and count of updates. Weights in f32 become those of the state.
    ///
    /// # Errors
    /// When the state's f32 weights are not those of the model, or its file is damaged.
    pub fn hand_over(&self, optimizer: &mut AdamW) -> Result<()> {
        optimizer.inherit(self.step(), |name, weight| self.inherited(name, weight))
    }

    /// What shall be said of it.
    pub fn note(&self) -> String {
        let experts = match (self.routed, self.experts) {
            (false, _) => "",
            (true, ExpertMoments::Zero) => "; experts and routers begin with moments of zero",
            (true, ExpertMoments::Copy) => "; every expert begins with the moments of the matrix it is a copy of, routers with zero",
        };
        format!("the optimizer goes on from update {} of {}{experts}", self.step(), self.state.path().display())
    }

    fn inherited(&self, name: &str, weight: &Tensor) -> Result<Inherited> {
        let Some(heir) = self.heir(name)? else { return Ok(Inherited::default()) };
        let read = |kept| self.state.read(&heir.parent, kept)?.map(|tensor| heir.reordered(name, tensor)).transpose();
        let master = read(Kept::Master)?;
        if let Some(master) = &master {
            self.same(name, master, weight)?;
        }
        let (mean, square) = if heir.moments { (read(Kept::Mean)?, read(Kept::Square)?) } else { (None, None) };
        if heir.moments && mean.is_none() {
            self.never_trained(name, weight)?;
        }
        Ok(Inherited { master, moments: mean.zip(square) })
    }

    /// What a stored parameter inherits; none where it begins anew.
    fn heir(&self, name: &str) -> Result<Option<Heir>> {
        let expert = name.contains(".mlp.experts.") || name.contains(".mlp.shared_expert.");
        let moments = !expert || self.experts == ExpertMoments::Copy;
        let heir = |parent: String, shuffled| Ok(Some(Heir { parent, shuffled, moments }));
        match self.origins.of(name) {
            Origin::Same => heir(name.to_owned(), None),
            Origin::Copy(parent) => heir(parent, None),
            Origin::Shuffled(parent, seed) => heir(parent, Some(seed)),
            _ if expert && !moments => Ok(None),
            Origin::Made(how) if expert || !is_new(name) => {
                Err(self.refuse(&format!("{name} is no copy in the checkpoint ({how})"), expert))
            }
            Origin::New if expert => Err(self.refuse(&format!("{name} does not come from this dense model"), expert)),
            Origin::Made(_) | Origin::New => Ok(None),
        }
    }

    fn refuse(&self, fact: &str, expert: bool) -> TrainError {
        let advice = if expert { "; expert_moments = \"zero\" begins without" } else { "" };
        TrainError::checkpoint(self.state.path(), format!("{fact}, so the state has no moments for it{advice}"))
    }

    /// Refuses f32 weights that do not round to the model's: 2⁻⁸ of each for bf16, 2⁻²⁴ for the smallest numbers of f16.
    fn same(&self, name: &str, master: &Tensor, weight: &Tensor) -> Result<()> {
        let master = master.f_to_device(weight.device())?;
        let off = weight.f_detach()?.f_to_kind(Kind::Float)?.f_sub(&master)?.f_abs()?;
        let allowed = master.f_abs()?.f_mul_scalar(2f64.powi(-8))?.f_add_scalar(2f64.powi(-24))?;
        let within = off.f_le_tensor(&allowed)?.f_sum(Kind::Int64)?.f_int64_value(&[])?;
        let (numel, beyond) = (weight.numel() as i64, weight.numel() as i64 - within);
        if beyond == 0 {
            return Ok(());
        }
        let found = format!("{beyond} of the {numel} f32 weights of {name} do not round to those of the checkpoint");
        Err(TrainError::checkpoint(self.state.path(), format!("{found}: it is the state of another model or another step")))
    }

    /// A parameter the state knows nothing of must be a bias that is zero, as where a norm had none.
    fn never_trained(&self, name: &str, weight: &Tensor) -> Result<()> {
        if weight.f_detach()?.f_count_nonzero(None::<i64>)?.f_int64_value(&[])? == 0 {
            return Ok(());
        }
        let reason = format!("holds nothing of {name}, which is not zero in the checkpoint: it is not the state of this model");
        Err(TrainError::checkpoint(self.state.path(), reason))
    }
}

/// Routers and gates, which no dense model has.
fn is_new(name: &str) -> bool {
    name.contains(".mlp.gate.") || name.contains(".mlp.shared_expert_gate.")
}

/// Of which parameter of the dense model one is the heir.
#[derive(Debug)]
struct Heir {
    parent: String,
    /// Seed of the order of its hidden units, where that is its own.
    shuffled: Option<u64>,
    moments: bool,
}

impl Heir {
    /// A tensor of the parent with the hidden units in the heir's order.
    fn reordered(&self, name: &str, tensor: Tensor) -> Result<Tensor> {
        let Some((seed, (layer, expert, projection))) = self.shuffled.zip(parse(name)) else { return Ok(tensor) };
        let dim = projection.unit_dim();
        let order = unit_permutation(seed, layer, expert, tensor.size()[dim as usize]);
        Ok(tensor.f_index_select(dim, &Tensor::f_from_slice(&order)?)?)
    }
}

/// Layer, expert and matrix in an expert's name.
fn parse(name: &str) -> Option<(usize, usize, Projection)> {
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once(".mlp.experts.")?;
    let (expert, matrix) = rest.split_once('.')?;
    let projection = Projection::ALL.into_iter().find(|projection| matrix == format!("{}.weight", projection.name()))?;
    Some((layer.parse().ok()?, expert.parse().ok()?, projection))
}
