//! How alike experts are: the cosine between their weights, gate, up and down projection as one vector. Where the conversion permuted
//! the experts' units they are put back in the order of the dense MLP first: equal functions look alike.
//!
//! Upcycled copies start at 1 and part ways in training (arXiv 2410.07524: 0.6 to 0.7 where the learning rate is reset; 2406.06563:
//! the lower, the lower the loss). A part of a split MLP is compared with the part of the parent it came from, scaled as the conversion
//! scaled it.

use coppice_models::moe::Moe;
use coppice_models::{Checkpoint, MoeConfig};
use tch::{Device, Kind, Tensor};

use super::notes::{is_permuted, scaling, seed};
use super::tally::rows;
use crate::convert::Result;
use crate::methods::{Projection, in_dense_order};

// N experts, G parts the dense MLP was split into, D hidden, F expert width, R rows and C columns of a matrix.

/// Weights converted to f64 at once, in elements (32 MiB).
const CHUNK: i64 = 1 << 22;

/// Cosines of one layer's experts.
pub(crate) struct Similarity {
    /// With each other, `[N][N]`.
    pub(crate) pairs: Vec<Vec<f64>>,
    /// With the parent's part, `[N]`; empty without a parent.
    pub(crate) parent: Vec<f64>,
}

/// Compares the experts of `layer` with each other and with the MLP of the dense `parent`; `config` says how they came from it.
pub(crate) fn measure(moe: &Moe, config: &MoeConfig, layer: usize, parent: Option<&Checkpoint>) -> Result<Similarity> {
    let experts = moe.gate_proj.size3()?.0;
    let mut products: Option<Tensor> = None; // [N + G, N + G]
    for projection in Projection::ALL {
        let weights = &in_order(matrix(moe, projection), config, layer, projection)?;
        let parts = parent.map(|parent| parts(parent, layer, projection, weights)).transpose()?;
        let parts = parts.map(|parts| parts.f_mul_scalar(scaling(config, projection))).transpose()?;
        let more = inner_products(weights, parts.as_ref())?;
        products = Some(products.map_or(Ok(more.shallow_clone()), |sum| sum.f_add(&more))?);
    }
    let cosines = products.map_or(Ok(Vec::new()), |products| cosines(&products))?;
    let count = experts as usize;
    let parent = cosines.iter().take(count).enumerate().filter_map(|(expert, row)| of_parent(&row[count..], expert)).collect();
    Ok(Similarity { pairs: cosines.iter().take(count).map(|row| row[..count].to_vec()).collect(), parent })
}

/// Packed matrices with their units in the order of the dense MLP.
fn in_order(packed: &Tensor, config: &MoeConfig, layer: usize, projection: Projection) -> Result<Tensor> {
    if is_permuted(config) { in_dense_order(seed(config), layer, projection, packed) } else { Ok(packed.shallow_clone()) }
}

/// Expert `i` came from part `i mod G`.
fn of_parent(parts: &[f64], expert: usize) -> Option<f64> {
    if parts.is_empty() { None } else { Some(parts[expert % parts.len()]) }
}

fn matrix(moe: &Moe, projection: Projection) -> &Tensor {
    match projection {
        Projection::Gate => &moe.gate_proj,
        Projection::Up => &moe.up_proj,
        Projection::Down => &moe.down_proj,
    }
}

/// The parent's matrix in parts of the experts' width, `[G, R, C]`, f32.
fn parts(parent: &Checkpoint, layer: usize, projection: Projection, weights: &Tensor) -> Result<Tensor> {
    let (_, r, c) = weights.size3()?;
    let whole = parent.load(&format!("model.layers.{layer}.mlp.{}.weight", projection.name()), Kind::Float, weights.device())?;
    Ok(match projection {
        Projection::Down => whole.f_view([r, -1, c])?.f_transpose(0, 1)?,
        _ => whole.f_view([-1, r, c])?,
    })
}

/// Inner products of all experts' matrices `[N, R, C]` and the parent's parts, `[N + G, N + G]`, f64.
fn inner_products(weights: &Tensor, parts: Option<&Tensor>) -> Result<Tensor> {
    let (n, r, c) = weights.size3()?;
    let all = n + parts.map_or(0, |parts| parts.size()[0]);
    let step = (CHUNK / (all * c)).clamp(1, r);
    let mut sum = Tensor::f_zeros([all, all], (Kind::Double, weights.device()))?;
    for start in (0..r).step_by(step as usize) {
        let rows = |matrix: &Tensor| -> Result<Tensor> {
            Ok(matrix.f_narrow(1, start, step.min(r - start))?.f_to_kind(Kind::Double)?.f_flatten(1, -1)?)
        };
        let mut flat = vec![rows(weights)?];
        flat.extend(parts.map(rows).transpose()?);
        let flat = Tensor::f_cat(&flat, 0)?; // [N + G, step * C]
        sum = sum.f_add(&flat.f_matmul(&flat.f_tr()?)?)?;
    }
    Ok(sum)
}

/// `x·y / (‖x‖ ‖y‖)`, within -1 and 1; exactly 1 on the diagonal, NaN for a vector of zeros.
fn cosines(products: &Tensor) -> Result<Vec<Vec<f64>>> {
    let products = rows(&products.f_to(Device::Cpu)?)?;
    let norms: Vec<f64> = products.iter().enumerate().map(|(i, row)| row[i].sqrt()).collect();
    let cosine = |i: usize, j: usize| match norms[i] * norms[j] {
        0.0 => f64::NAN,
        _ if i == j => 1.0,
        norms => (products[i][j] / norms).clamp(-1.0, 1.0),
    };
    Ok((0..norms.len()).map(|i| (0..norms.len()).map(|j| cosine(i, j)).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_of_vectors_by_hand() {
        let weights = Tensor::from_slice(&[1.0_f32, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 3.0, 3.0, 0.0, 0.0]).view([3, 2, 2]);
        let found = cosines(&inner_products(&weights, None).unwrap()).unwrap();
        let half = 0.5_f64.sqrt();
        let wanted = [[1.0, 0.0, half], [0.0, 1.0, half], [half, half, 1.0]];
        assert!(found.iter().flatten().zip(wanted.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-15), "{found:?}");
    }
}
