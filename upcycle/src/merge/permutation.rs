//! The order of an expert's hidden units, until the methods that shuffle them bring it along.

use coppice_models::init::{stream, unit};

/// Which unit of the dense MLP stands at each place of the expert, `[units]`.
pub(super) fn unit_permutation(seed: u64, layer: usize, expert: usize, units: i64) -> Vec<i64> {
    let mut rng = stream(seed, &format!("layer {layer} expert {expert} permutation"));
    let mut order: Vec<i64> = (0..units).collect();
    for last in (1..order.len()).rev() {
        let other = ((1.0 - unit(&mut rng)) * (last + 1) as f64) as usize;
        order.swap(last, other.min(last));
    }
    order
}
