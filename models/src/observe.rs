//! What decoding leaves beside tokens and their probabilities: attention and hidden states, reduced as they appear.
//!
//! Detectors read how far a response looks back at its prompt, how much each token attends to itself, and where it lies in the hidden space.
//! The whole of it would be layers × heads × length numbers a token; what is kept here is a few numbers a head and a few vectors a layer,
//! and nothing is computed that [`Observe`] does not ask for.

mod attention;
mod distribution;
mod hidden;
mod states;

use tch::{Kind, Tensor};

use crate::config::Config;
use crate::error::{Error, Result};

pub use attention::{AttentionSummary, RAUQ_ALPHA, rauq_layers};
pub use distribution::Divergences;
pub use hidden::HiddenSummary;
pub use states::States;

pub(crate) use attention::AttentionSums;
pub(crate) use distribution::divergences;
pub(crate) use hidden::HiddenSums;

// R rows, L layers, H query heads, D hidden.

/// What to observe while decoding; nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observe {
    /// Reduces attention weights to an [`AttentionSummary`].
    pub attention: bool,
    /// Layers, from 0, whose hidden states are reduced to a [`HiddenSummary`].
    pub hidden_layers: Vec<usize>,
    /// Measures how far each token's distribution is from the uniform one.
    pub distribution: bool,
}

impl Observe {
    /// Whether a response's last token must be run through the model too, though it predicts nothing.
    pub(crate) fn last_token(&self) -> bool {
        !self.hidden_layers.is_empty()
    }

    /// Refuses layers that are not there.
    ///
    /// # Errors
    /// Names the layer and how many there are.
    pub fn check(&self, config: &Config) -> Result<()> {
        let layers = config.num_hidden_layers;
        match self.hidden_layers.iter().find(|&&layer| layer >= layers) {
            Some(layer) => Err(Error::Input(format!("there is no hidden layer {layer}: this model has {layers}, numbered from 0"))),
            None => Ok(()),
        }
    }
}

/// What one step of decoding showed of every row, on the host.
#[derive(Debug)]
pub(crate) struct Seen {
    attention: Vec<f32>,   // [R, L, H, 2]: attention to the whole prompt, and of the token to itself
    hidden: Vec<Vec<f32>>, // a chosen layer: [R, D]
    rows: usize,
}

impl Seen {
    /// Fetches `attention [R, L, H, 2]` and the states `[R, 1, D]` of the chosen layers.
    ///
    /// # Errors
    /// When libtorch fails.
    pub(crate) fn new(rows: usize, attention: Option<Tensor>, states: &[Tensor]) -> Result<Self> {
        let hidden = states.iter().map(host).collect::<Result<_>>()?;
        Ok(Self { attention: attention.map_or(Ok(Vec::new()), |weights| host(&weights))?, hidden, rows })
    }

    /// `[L, H, 2]` of one row.
    pub(crate) fn attention(&self, row: usize) -> &[f32] {
        part(&self.attention, row, self.rows)
    }

    /// `[D]` of one row, layer by layer.
    pub(crate) fn hidden(&self, row: usize) -> impl Iterator<Item = &[f32]> {
        self.hidden.iter().map(move |states| part(states, row, self.rows))
    }
}

/// Row `index` of `rows` equal parts.
fn part(values: &[f32], index: usize, rows: usize) -> &[f32] {
    let width = values.len() / rows.max(1);
    &values[index * width..][..width]
}

/// The values of a tensor, row-major, in f32.
pub(crate) fn host(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(Vec::<f32>::try_from(tensor.f_to_kind(Kind::Float)?.f_contiguous()?.f_flatten(0, -1)?)?)
}
