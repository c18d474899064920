//! Virtual groups: the dense MLP is split into `G` parts and the set of parts copied `E` times, `N = E G` experts in all (He et al.,
//! arXiv 2410.07524; Megatron-Core `upcycling_utils.py`). Expert `i` holds part `i mod G` of group `i / G`.
//!
//! The `E` rows of the router are each repeated `G` times, so that a token meets whole groups. Their weighted parts add up to the MLP
//! after scaling by `a`: `E G² / K` for `softmax_topk`, whose weights are `1/N` each where the router is uniform, and `G` for the other
//! gates, whose weights sum to 1 (those of `expert_choice` do not, it is scaled as if they did). Megatron scales all three matrices
//! by the cube root of `a`, which is not exact for SwiGLU: measured 16 to 24 % off per layer, because `silu(s x)` is not `s silu(x)`.

use coppice_models::{Config, Gate};
use serde_json::{Value, json};
use tch::Tensor;

use super::preserve::{router_is_uniform, weights_sum_to_one};
use super::{Method, Preservation, Projection, Recipe, Target, divides_width};
use crate::convert::error::Result;
use crate::convert::options::{Options, Scaling, require};

/// See the module.
#[derive(Debug)]
pub(super) struct VirtualGroup;

impl Method for VirtualGroup {
    fn name(&self) -> &'static str {
        "virtual_group"
    }

    fn summary(&self) -> &'static str {
        "the dense MLP in G parts, each N/G times; router rows repeated, weights scaled (arXiv 2410.07524)"
    }

    fn flags(&self) -> &'static [&'static str] {
        &["granularity", "scaling", "group-selection"]
    }

    fn check(&self, config: &Config, options: &Options) -> Result<()> {
        let (n, g) = (options.experts, options.parts());
        divides_width(config, g)?;
        require(n % g == 0, || format!("experts {n} is no multiple of granularity {g}: every part needs as many copies as the others"))
    }

    fn expert_width(&self, config: &Config, options: &Options) -> i64 {
        config.intermediate_size / options.parts()
    }

    fn router_repeat(&self, options: &Options) -> i64 {
        options.parts()
    }

    fn recipe(&self, target: &Target, options: &Options) -> Recipe {
        let (parts, scale) = (options.parts(), scale(target.projection, options));
        if parts == 1 {
            return Recipe::scaled(target.dense(), scale);
        }
        let (part, projection) = (target.expert as i64 % parts, target.projection);
        let scaled = if scale == 1.0 { String::new() } else { format!(", scaled by {scale}") };
        Recipe::derived(target.dense(), format!("part {part} of {parts}{scaled}"), move |dense| {
            Ok(part_of(dense, projection, part, parts)?.f_mul_scalar(scale)?)
        })
    }

    fn preserves(&self, _config: &Config, options: &Options) -> Preservation {
        let (k, g) = (options.top_k, options.parts());
        Preservation::only_if(k % g == 0, || format!("top-k {k} is no multiple of granularity {g}, so a token misses parts of the MLP"))
            .and(|| scaling_is_exact(options))
            .and(|| weights_are_known(options))
    }

    fn record(&self, _config: &Config, options: &Options) -> Vec<(&'static str, Value)> {
        vec![("scaling", json!(options.scaling)), ("factor", json!(factor(options)))]
    }
}

/// Part `part` of `parts` of a dense matrix: rows of gate and up, columns of down.
pub(super) fn part_of(dense: &Tensor, projection: Projection, part: i64, parts: i64) -> Result<Tensor> {
    let dim = projection.unit_dim();
    let width = dense.size()[dim as usize] / parts;
    Ok(dense.f_narrow(dim, part * width, width)?)
}

/// `a`, what the weighted sum of parts is multiplied by to be the MLP.
fn factor(options: &Options) -> f64 {
    let (g, groups) = (options.parts(), options.experts / options.parts());
    if options.gate == Gate::SoftmaxTopk { (groups * g * g) as f64 / options.top_k as f64 } else { g as f64 }
}

/// What one matrix is multiplied by.
fn scale(projection: Projection, options: &Options) -> f64 {
    match (options.scaling, projection) {
        (Scaling::Down, Projection::Down) => factor(options),
        (Scaling::SqrtUpDown, Projection::Up | Projection::Down) => factor(options).sqrt(),
        (Scaling::CubeRoot, _) => factor(options).cbrt(),
        _ => 1.0,
    }
}

fn scaling_is_exact(options: &Options) -> Preservation {
    if factor(options) == 1.0 {
        return Preservation::Exact;
    }
    let reason = match options.scaling {
        Scaling::Down | Scaling::SqrtUpDown => return Preservation::Exact,
        Scaling::CubeRoot => "scaling cube_root multiplies the gate matrix too, and silu(s x) is not s silu(x)".to_owned(),
        Scaling::None => format!("without scaling the output is {} times too small", factor(options)),
    };
    Preservation::Not(reason)
}

/// Exact where the weights are those the factor was made for.
fn weights_are_known(options: &Options) -> Preservation {
    if options.gate == Gate::SoftmaxTopk && router_is_uniform(options) {
        return Preservation::Exact;
    }
    let claim = weights_sum_to_one(options);
    if options.gate == Gate::SoftmaxTopk && claim != Preservation::Exact {
        return Preservation::Not("the factor of gate softmax_topk is right only where the router is exactly uniform".into());
    }
    claim
}
