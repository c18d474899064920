//! Sparse upcycling by copies: every expert starts as the dense MLP, the router is random (Komatsuzaki et al., arXiv 2212.05055).
//!
//! With weights that sum to 1 (every gate but `softmax_topk`) the output equals the dense model's for any router.

use coppice_models::Config;
use coppice_models::init::normal;
use tch::Tensor;

use super::{Method, Part, Recipe, Target};
use crate::convert::error::Result;
use crate::convert::options::{Options, require};
use crate::methods::Projection;

/// See the module.
#[derive(Debug)]
pub(super) struct Copy;

impl Method for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn summary(&self) -> &'static str {
        "every expert is an exact copy of the dense MLP, the router random (arXiv 2212.05055)"
    }

    fn check(&self, _config: &Config, options: &Options) -> Result<()> {
        let granularity = options.granularity.unwrap_or(1);
        require(granularity == 1, || format!("granularity {granularity}: method copy makes experts of full width, granularity 1"))
    }

    fn expert_width(&self, config: &Config, _options: &Options) -> i64 {
        config.intermediate_size
    }

    fn recipe(&self, target: &Target, options: &Options) -> Recipe {
        match target.part {
            Part::Router => drawn(target, options),
            Part::Expert(_, projection) => Recipe::Copy(target.dense(projection)),
        }
    }
}

/// Router rows from `N(0, std)`, seeded by the conversion's seed and the tensor's name.
fn drawn(target: &Target, options: &Options) -> Recipe {
    let (name, shape, seed, std) = (target.name.clone(), target.shape.clone(), options.seed, options.router_std);
    let make = move |_: &[Tensor]| {
        Ok(Tensor::f_from_slice(&normal(seed, &name, shape.iter().product::<i64>() as usize, std))?.f_view(&shape[..])?)
    };
    Recipe::Made { sources: vec![], like: target.dense(Projection::Gate), make: Box::new(make), note: format!("drawn from N(0, {std})") }
}
