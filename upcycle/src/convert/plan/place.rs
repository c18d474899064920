//! Where a tensor of the result stands, told from its name, and whose recipe it is made by.

use coppice_models::tensors::TensorSpec;

use crate::convert::options::Options;
use crate::methods::{Method, Origin, Projection, Recipe, Target};
use crate::routers::RouterRows;

/// The parts of a routed model; layers count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Everything outside of routed MLPs.
    Trunk,
    /// `[N, D]`.
    Router(usize),
    /// `[N]`, f32.
    RouterBias(usize),
    /// A matrix of a routed expert.
    Expert(usize, usize, Projection),
    /// A matrix of the expert of all tokens.
    Shared(usize, Projection),
    /// `[1, D]`.
    SharedGate(usize),
}

impl Place {
    /// The place of the tensor called `name`.
    pub(super) fn of(name: &str) -> Self {
        Self::routed(name).unwrap_or(Self::Trunk)
    }

    fn routed(name: &str) -> Option<Self> {
        let (layer, rest) = name.strip_prefix("model.layers.")?.split_once(".mlp.")?;
        let layer = layer.parse().ok()?;
        match rest {
            "gate.weight" => return Some(Self::Router(layer)),
            "gate.e_score_correction_bias" => return Some(Self::RouterBias(layer)),
            "shared_expert_gate.weight" => return Some(Self::SharedGate(layer)),
            _ => {}
        }
        if let Some(matrix) = rest.strip_prefix("shared_expert.") {
            return Some(Self::Shared(layer, projection(matrix)?));
        }
        let (expert, matrix) = rest.strip_prefix("experts.")?.split_once('.')?;
        Some(Self::Expert(layer, expert.parse().ok()?, projection(matrix)?))
    }
}

fn projection(matrix: &str) -> Option<Projection> {
    Projection::ALL.into_iter().find(|projection| matrix.strip_suffix(".weight") == Some(projection.name()))
}

/// What every recipe follows from.
pub(super) struct Growth<'a> {
    pub(super) options: &'a Options,
    pub(super) method: &'a dyn Method,
    pub(super) routers: &'a RouterRows,
}

impl Growth<'_> {
    /// How a tensor is made.
    pub(super) fn recipe(&self, place: &Place, spec: &TensorSpec) -> Recipe {
        let target = |layer, expert, projection| {
            let (name, shape) = (spec.name.clone(), spec.shape.clone());
            Target { layer, expert, projection, name, shape }
        };
        match *place {
            Place::Trunk => self.method.trunk(&spec.name, self.options),
            Place::Router(layer) => self.routers.recipe(layer, gate_of(layer), &spec.shape),
            Place::RouterBias(layer) | Place::SharedGate(layer) => Recipe::zeros(gate_of(layer), &spec.shape),
            Place::Expert(layer, expert, projection) => self.method.recipe(&target(layer, expert, projection), self.options),
            Place::Shared(layer, projection) => self.method.shared_recipe(&target(layer, 0, projection), self.options),
        }
    }
}

/// The tensor whose element type what is new in a layer takes.
fn gate_of(layer: usize) -> Origin {
    Origin::first(format!("model.layers.{layer}.mlp.gate_proj.weight"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_routed_parts_are_told_from_dense_ones() {
        for (name, place) in [
            ("model.layers.3.mlp.gate.weight", Place::Router(3)),
            ("model.layers.3.mlp.gate.e_score_correction_bias", Place::RouterBias(3)),
            ("model.layers.12.mlp.experts.7.down_proj.weight", Place::Expert(12, 7, Projection::Down)),
            ("model.layers.0.mlp.shared_expert.up_proj.weight", Place::Shared(0, Projection::Up)),
            ("model.layers.0.mlp.shared_expert_gate.weight", Place::SharedGate(0)),
            ("model.layers.3.mlp.gate_proj.weight", Place::Trunk),
            ("model.layers.3.self_attn.q_proj.weight", Place::Trunk),
            ("lm_head.weight", Place::Trunk),
        ] {
            assert_eq!(Place::of(name), place, "{name}");
        }
    }
}
