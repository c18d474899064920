//! In which types a run computes and keeps its state, and which layers compute their activations twice.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::Kind;

use crate::convert::LayerSelection;
use crate::convert::error::ConvertError;

/// Types of parameters, gradients and optimizer state. Losses, routers, norms of gradients and sums over ranks are f32 in all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Everything in f32: 16 bytes a parameter with gradient and both moments.
    #[default]
    F32,
    /// Everything in bf16: 8 bytes a parameter. Updates smaller than 1/256 of a weight are lost.
    Bf16,
    /// Parameters and gradients in bf16, a copy of the parameters and both moments in f32: 16 bytes a parameter. Gradients of several
    /// micro-batches are summed in f32 (18 bytes).
    Bf16Master,
}

impl Precision {
    /// Type of the parameters, which the model computes in.
    pub fn parameters(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 | Self::Bf16Master => Kind::BFloat16,
        }
    }

    /// Type of the moments.
    pub fn moments(self) -> Kind {
        match self {
            Self::Bf16 => Kind::BFloat16,
            Self::F32 | Self::Bf16Master => Kind::Float,
        }
    }

    /// Type in which gradients of `micro_batches` are summed.
    pub fn gradients(self, micro_batches: usize) -> Kind {
        match self {
            Self::Bf16Master if micro_batches > 1 => Kind::Float,
            _ => self.parameters(),
        }
    }

    /// Whether the optimizer keeps a copy of the parameters in f32.
    pub fn has_master(self) -> bool {
        self == Self::Bf16Master
    }
}

/// Layers whose activations are not kept for the backward pass but computed again in it (arXiv 1604.06174): `none`, or a selection of
/// layers as the conversion knows it (`all`, `alternate`, `first:k`, `last:k`, `0,2,5`). The gradients are the same bit for bit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Recompute(Option<LayerSelection>);

impl Recompute {
    /// Whether each of a model's `layers` is computed again.
    ///
    /// # Errors
    /// When the selection names a layer that the model does not have.
    pub fn resolve(&self, layers: usize) -> Result<Vec<bool>, ConvertError> {
        let chosen = self.0.as_ref().map(|selection| selection.resolve(layers)).transpose()?.unwrap_or_default();
        Ok((0..layers).map(|layer| chosen.contains(&layer)).collect())
    }
}

impl FromStr for Recompute {
    type Err = ConvertError;

    fn from_str(text: &str) -> Result<Self, ConvertError> {
        if text == "none" { Ok(Self(None)) } else { text.parse().map(Some).map(Self) }
    }
}

impl TryFrom<String> for Recompute {
    type Error = ConvertError;

    fn try_from(text: String) -> Result<Self, ConvertError> {
        text.parse()
    }
}

impl From<Recompute> for String {
    fn from(recompute: Recompute) -> Self {
        recompute.to_string()
    }
}

impl fmt::Display for Recompute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("none"),
            Some(selection) => selection.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_to_compute_again() {
        let resolved = |text: &str| text.parse::<Recompute>().unwrap().resolve(4).unwrap();
        assert_eq!(resolved("none"), [false; 4]);
        assert_eq!(resolved("all"), [true; 4]);
        assert_eq!(resolved("alternate"), [false, true, false, true]);
        assert_eq!(resolved("last:1"), [false, false, false, true]);
        assert!("some".parse::<Recompute>().is_err());
        assert!("first:9".parse::<Recompute>().unwrap().resolve(4).is_err());
    }

    #[test]
    fn sums_of_gradients_are_f32_where_a_master_copy_is() {
        assert_eq!(Precision::Bf16Master.gradients(1), Kind::BFloat16);
        assert_eq!(Precision::Bf16Master.gradients(2), Kind::Float);
        assert_eq!(Precision::Bf16.gradients(2), Kind::BFloat16);
    }
}
