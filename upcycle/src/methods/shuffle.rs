//! Copies with their hidden units in an order of their own: a permutation for each layer and expert, of the rows of gate and up and
//! the columns of down (the first step of Qwen1.5-MoE and of Drop-Upcycling, arXiv 2502.19261).
//!
//! The sum over units does not know their order, so every expert still is the dense MLP. What changes is what later training sees.

use coppice_models::Config;

use super::preserve::weights_sum_to_one;
use super::{Method, Preservation, Recipe, Target, units};
use crate::convert::options::Options;

/// See the module.
#[derive(Debug)]
pub(super) struct Shuffle;

impl Method for Shuffle {
    fn name(&self) -> &'static str {
        "shuffle"
    }

    fn summary(&self) -> &'static str {
        "copies, the hidden units of each in an order of its own"
    }

    fn permutes(&self) -> bool {
        true
    }

    fn recipe(&self, target: &Target, options: &Options) -> Recipe {
        let (seed, target) = (options.seed, target.clone());
        Recipe::derived(target.dense(), "units permuted", move |dense| units::permuted(seed, &target, dense))
    }

    fn preserves(&self, _config: &Config, options: &Options) -> Preservation {
        weights_sum_to_one(options)
    }
}
