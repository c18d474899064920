//! What a step did with the experts, and what they have become: loads, drops, and how alike they are.

use coppice_models::Model;
use coppice_models::capacity::{Capacity, DropPolicy};
use coppice_models::model::FeedForward;
use coppice_models::moe::{Moe, Routing};
use tch::{Kind, Tensor, no_grad_guard};

use super::error::Result;
use super::metrics::ExpertLoad;

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
pub fn similarity(moe: &Moe) -> Result<Option<f64>> {
    let _guard = no_grad_guard();
    let gram = gram(&moe.gate_proj)?.f_add(&gram(&moe.up_proj)?)?.f_add(&gram(&moe.down_proj)?)?.f_to_kind(Kind::Double)?; // [N, N]
    let experts = gram.size2()?.0;
    if experts < 2 {
        return Ok(None);
    }
    let norms = gram.f_diagonal(0, 0, 1)?.f_sqrt()?; // [N]
    let cosines = gram.f_div(&norms.f_outer(&norms)?.f_clamp_min(f64::MIN_POSITIVE)?)?;
    let pairs = cosines.f_sum(Kind::Double)?.f_sub(&cosines.f_trace()?)?.f_double_value(&[])?;
    Ok(Some(pairs / (experts * (experts - 1)) as f64))
}

/// Inner products of the experts' matrices `[N, .., ..]` by pairs, `[N, N]`.
fn gram(packed: &Tensor) -> Result<Tensor> {
    let rows = packed.f_flatten(1, -1)?;
    Ok(rows.f_matmul(&rows.f_tr()?)?)
}
