//! States of chosen layers, kept through one forward pass.

use tch::Tensor;

// B batch, S sequence, D hidden.

/// States of the residual stream after chosen layers.
#[derive(Debug)]
pub struct States {
    /// The layers, from 0.
    layers: Vec<usize>,
    /// Their states `[B, S, D]`, in the same order.
    kept: Vec<Option<Tensor>>,
}

impl States {
    /// Of the given layers; none of no layer.
    pub fn of(layers: &[usize]) -> Option<Self> {
        (!layers.is_empty()).then(|| Self { layers: layers.to_vec(), kept: layers.iter().map(|_| None).collect() })
    }

    /// Keeps `x [B, S, D]`, the state after `layer`, if that was chosen.
    pub(crate) fn keep(&mut self, layer: usize, x: &Tensor) {
        let places = self.layers.iter().zip(&mut self.kept).filter(|(chosen, _)| **chosen == layer);
        places.for_each(|(_, place)| *place = Some(x.shallow_clone()));
    }

    /// What was kept.
    pub fn into_kept(self) -> Vec<Tensor> {
        self.kept.into_iter().flatten().collect()
    }
}
