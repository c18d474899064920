//! Draws of hidden units. Each depends on seed, layer, expert and purpose alone, not on the order in which tensors are made.

use coppice_models::init::{stream, unit};
use tch::{Kind, Tensor};

use super::{Projection, Target};
use crate::convert::error::Result;

/// The order in which expert `expert` of layer `layer` holds the `units` hidden units of the dense MLP: its unit `i` is the dense
/// unit `permutation[i]`. What `shuffle` and `drop` apply, for whoever wants to undo it.
pub fn unit_permutation(seed: u64, layer: usize, expert: usize, units: i64) -> Vec<i64> {
    permutation(seed, &purpose(layer, expert, "permutation"), units)
}

/// `floor(ratio · units)` of the units, ascending, for a purpose.
pub(super) fn chosen(seed: u64, purpose: &str, units: i64, ratio: f64) -> Vec<i64> {
    let mut chosen = permutation(seed, purpose, units);
    chosen.truncate(share(units, ratio) as usize);
    chosen.sort_unstable();
    chosen
}

/// `floor(ratio · units)`.
pub(super) fn share(units: i64, ratio: f64) -> i64 {
    (ratio * units as f64).floor() as i64
}

/// The name of a stream of draws.
pub(super) fn purpose(layer: usize, expert: usize, what: &str) -> String {
    format!("layer {layer} expert {expert} {what}")
}

/// Fisher and Yates.
fn permutation(seed: u64, purpose: &str, units: i64) -> Vec<i64> {
    let mut rng = stream(seed, purpose);
    let mut order: Vec<i64> = (0..units).collect();
    for last in (1..order.len()).rev() {
        let other = ((1.0 - unit(&mut rng)) * (last + 1) as f64) as usize;
        order.swap(last, other.min(last));
    }
    order
}

/// The dense matrix with its units in the order of the target's expert.
pub(super) fn permuted(seed: u64, target: &Target, dense: &Tensor) -> Result<Tensor> {
    let dim = target.projection.unit_dim();
    let order = unit_permutation(seed, target.layer, target.expert, dense.size()[dim as usize]);
    Ok(dense.f_index_select(dim, &Tensor::f_from_slice(&order)?)?)
}

/// Packed matrices `[N, ..]` of a layer's experts with their units back in the order of the dense MLP.
pub(crate) fn in_dense_order(seed: u64, layer: usize, projection: Projection, packed: &Tensor) -> Result<Tensor> {
    let dim = projection.unit_dim();
    let back = |expert: usize| -> Result<Tensor> {
        let matrix = packed.f_get(expert as i64)?;
        let order = Tensor::f_from_slice(&unit_permutation(seed, layer, expert, matrix.size()[dim as usize]))?;
        Ok(matrix.f_index_select(dim, &order.f_argsort(0, false)?.f_to_device(packed.device())?)?)
    };
    Ok(Tensor::f_stack(&(0..packed.size()[0] as usize).map(back).collect::<Result<Vec<_>>>()?, 0)?)
}

/// Mean and standard deviation (with `n − 1`) of all elements, in f64.
pub(super) fn statistics(values: &Tensor) -> Result<(f64, f64)> {
    let values = values.f_to_kind(Kind::Double)?;
    Ok((f64::try_from(values.f_mean(Kind::Double)?)?, f64::try_from(values.f_std(values.numel() > 1)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutations_hold_every_unit_once_and_differ_by_seed_layer_and_expert() {
        let base = unit_permutation(1, 2, 3, 100);
        let mut sorted = base.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_eq!(base, unit_permutation(1, 2, 3, 100));
        for other in [unit_permutation(2, 2, 3, 100), unit_permutation(1, 3, 2, 100), unit_permutation(1, 2, 4, 100)] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn every_place_is_as_likely_for_every_unit() {
        let mut counts = [[0; 5]; 5];
        for seed in 0..2000 {
            for (place, unit) in unit_permutation(seed, 0, 0, 5).into_iter().enumerate() {
                counts[place][unit as usize] += 1;
            }
        }
        // 400 each, deviation 18.
        assert!(counts.iter().flatten().all(|count| (310..490).contains(count)), "{counts:?}");
    }

    #[test]
    fn shares_are_rounded_down() {
        assert_eq!((share(48, 0.5), share(5, 0.5), share(5, 0.0), share(5, 1.0)), (24, 2, 0, 5));
        assert_eq!(chosen(0, "a", 7, 1.0), (0..7).collect::<Vec<_>>());
    }
}
