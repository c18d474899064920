//! What a step did with the experts, and what they have become: loads, drops, and how alike they are.

use coppice_models::capacity::{Capacity, DropPolicy};
use coppice_models::model::FeedForward;
use coppice_models::moe::{Moe, Routing};
use coppice_models::{Model, MoeConfig};
use tch::{Kind, Tensor, no_grad_guard};

use super::error::{Result, TrainError};
use super::metrics::ExpertLoad;
use super::parallel::Ranks;
use crate::inspect::similarity::measure;

// N experts, F expert width, D hidden.

/// Room where training is dropless: an even share.
const EVEN: Capacity = Capacity { factor: 1.0, drop: DropPolicy::Probs };

/// Where one layer's assignments of a step went.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) layer: usize,
    /// Assignments per expert, `[N]`.
    pub(super) chosen: Tensor,
    computed: Tensor, // [N]
    beyond: Tensor,   // [], assignments for which there was no room
}

impl Tally {
    /// That of one micro-batch.
    pub(super) fn new(routing: Routing, capacity: Option<Capacity>) -> Result<Self> {
        let Routing { layer, counts, computed, tokens, .. } = routing;
        let room = capacity.unwrap_or(EVEN).room(tokens.size1()?, counts.size1()?);
        let beyond = counts.f_sub_scalar(room)?.f_clamp_min(0)?.f_sum(Kind::Int64)?;
        Ok(Self { layer, chosen: counts, computed, beyond })
    }

    /// Adds that of a later micro-batch.
    pub(super) fn add(&mut self, other: &Self) -> Result<()> {
        self.chosen = self.chosen.f_add(&other.chosen)?;
        self.computed = self.computed.f_add(&other.computed)?;
        self.beyond = self.beyond.f_add(&other.beyond)?;
        Ok(())
    }

    /// Sums it over all ranks, in place.
    pub(super) fn over(&self, ranks: &Ranks) -> Result<()> {
        [&self.chosen, &self.computed, &self.beyond].into_iter().try_for_each(|counts| ranks.sum(counts))
    }

    /// Share of assignments beyond the experts' room, that of capacity factor 1 where training is dropless.
    pub(super) fn beyond(&self) -> Result<f64> {
        Ok(self.beyond.f_double_value(&[])? / self.total()?)
    }

    /// Loads and drops as the log has them.
    pub(super) fn load(&self) -> Result<ExpertLoad> {
        let load = ExpertLoad::new(self.layer, &Vec::<i64>::try_from(&self.chosen)?)?;
        let computed = self.computed.f_sum(Kind::Double)?.f_double_value(&[])?;
        Ok(ExpertLoad { drop_rate: Some(1.0 - computed / self.total()?), ..load })
    }

    fn total(&self) -> Result<f64> {
        Ok(self.chosen.f_sum(Kind::Double)?.f_double_value(&[])?)
    }
}

/// The routed layers of a model with their indices.
pub(super) fn routed(model: &Model) -> impl Iterator<Item = (usize, &Moe)> {
    model.layers.iter().enumerate().filter_map(|(index, layer)| match &layer.mlp {
        FeedForward::Moe(moe) => Some((index, moe.as_ref())),
        FeedForward::Dense(_) => None,
    })
}

/// Mean cosine similarity over the pairs of a layer's experts, each taken as one vector of its gate, up and down projections: 1 where all
/// are copies, about 0 where they have nothing in common. None where there is one expert.
///
/// # Errors
/// When libtorch fails.
pub fn similarity(moe: &Moe, config: &MoeConfig, layer: usize) -> Result<Option<f64>> {
    let _guard = no_grad_guard();
    let cosines = measure(moe, config, layer, None).map_err(|error| TrainError::Recipe(error.to_string()))?.pairs;
    let experts = cosines.len();
    let pairs: f64 = (0..experts).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| cosines[i][j]).sum();
    Ok((experts > 1).then(|| pairs / (experts * (experts - 1) / 2) as f64))
}
