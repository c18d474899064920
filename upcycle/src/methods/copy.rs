//! Sparse upcycling by copies: every expert starts as the dense MLP (Komatsuzaki et al., arXiv 2212.05055).
//!
//! With weights that sum to 1 the output equals the dense model's for any router.

use coppice_models::Config;

use super::preserve::weights_sum_to_one;
use super::{Method, Preservation, Recipe, Target};
use crate::convert::options::Options;

/// See the module.
#[derive(Debug)]
pub(super) struct Copy;

impl Method for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn summary(&self) -> &'static str {
        "every expert is an exact copy of the dense MLP (arXiv 2212.05055)"
    }

    fn recipe(&self, target: &Target, _options: &Options) -> Recipe {
        Recipe::Copy(target.dense())
    }

    fn preserves(&self, _config: &Config, options: &Options) -> Preservation {
        weights_sum_to_one(options)
    }
}
