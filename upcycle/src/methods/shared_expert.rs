//! A shared expert beside the routed ones: the dense MLP for every token, and routed experts that start from nothing or from it.
//!
//! `zero`: routed gate and up are copies (with granularity `G` expert `i` holds part `i mod G`) and routed down projections are zero, so
//! that the shared expert alone is the dense MLP, whatever the gate and the router. `copies`: routed experts are copies, shared and
//! routed down projections are halved: exact where weights sum to 1. With a gate on the shared expert (Qwen2-MoE), its row starts at
//! zero, so its sigmoid is 1/2, and the shared down projection is doubled.

use coppice_models::{Config, SharedExpert as Shared};
use serde_json::{Value, json};

use super::preserve::weights_sum_to_one;
use super::virtual_group::part_of;
use super::{Method, Preservation, Projection, Recipe, Target, divides_width};
use crate::convert::error::Result;
use crate::convert::options::{Options, SharedStart, require};

/// See the module.
#[derive(Debug)]
pub(super) struct SharedExpert;

impl Method for SharedExpert {
    fn name(&self) -> &'static str {
        "shared_expert"
    }

    fn summary(&self) -> &'static str {
        "the dense MLP for every token, and routed experts that start from zero output or as copies"
    }

    fn flags(&self) -> &'static [&'static str] {
        &["granularity", "shared-start", "shared-gate", "group-selection"]
    }

    fn check(&self, config: &Config, options: &Options) -> Result<()> {
        let parts = options.parts();
        divides_width(config, parts)?;
        let whole = options.shared_start != SharedStart::Copies || parts == 1;
        require(whole, || format!("granularity {parts}: shared start copies makes routed experts of full width, granularity 1"))
    }

    fn expert_width(&self, config: &Config, options: &Options) -> i64 {
        config.intermediate_size / options.parts()
    }

    fn shared_expert(&self, config: &Config, options: &Options) -> Option<Shared> {
        Some(Shared { intermediate_size: config.intermediate_size, gated: options.shared_gate })
    }

    fn recipe(&self, target: &Target, options: &Options) -> Recipe {
        let (start, parts) = (options.shared_start, options.parts());
        match target.projection {
            Projection::Down if start == SharedStart::Zero => Recipe::zeros(target.dense(), &target.shape),
            Projection::Down => Recipe::scaled(target.dense(), 0.5),
            _ if parts == 1 => Recipe::Copy(target.dense()),
            projection => {
                let part = target.expert as i64 % parts;
                Recipe::derived(target.dense(), format!("part {part} of {parts}"), move |dense| part_of(dense, projection, part, parts))
            }
        }
    }

    fn shared_recipe(&self, target: &Target, options: &Options) -> Recipe {
        if target.projection != Projection::Down {
            return Recipe::Copy(target.dense());
        }
        let half = if options.shared_start == SharedStart::Copies { 0.5 } else { 1.0 };
        Recipe::scaled(target.dense(), if options.shared_gate { 2.0 * half } else { half })
    }

    fn preserves(&self, _config: &Config, options: &Options) -> Preservation {
        match options.shared_start {
            SharedStart::Zero => Preservation::Exact,
            SharedStart::Copies => weights_sum_to_one(options),
        }
    }

    fn record(&self, _config: &Config, options: &Options) -> Vec<(&'static str, Value)> {
        vec![("shared_start", json!(options.shared_start)), ("shared_gate", json!(options.shared_gate))]
    }
}
