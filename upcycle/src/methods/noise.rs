//! Copies with noise: `N(0, noise_std)` is added to a share of the hidden units.
//!
//! The variant: `floor(ratio F)` units are drawn for each expert, once for its three matrices, and every weight of theirs (row of gate,
//! row of up, column of down) gets a draw of its own. The others stay as they are, bit for bit. It is the baseline of Drop-Upcycling
//! (arXiv 2502.19261); OLMoE (2409.02060) replaces single weights instead and finds no gain.

use coppice_models::Config;
use coppice_models::init::normal;
use serde_json::{Value, json};
use tch::Tensor;

use super::preserve::weights_sum_to_one;
use super::units::{chosen, purpose, share};
use super::{Method, Preservation, Recipe, Target};
use crate::convert::error::Result;
use crate::convert::options::Options;

/// See the module.
#[derive(Debug)]
pub(super) struct Noise;

impl Method for Noise {
    fn name(&self) -> &'static str {
        "noise"
    }

    fn summary(&self) -> &'static str {
        "copies, with N(0, noise-std) added to a share of the hidden units of each"
    }

    fn flags(&self) -> &'static [&'static str] {
        &["ratio", "noise-std"]
    }

    fn recipe(&self, target: &Target, options: &Options) -> Recipe {
        let (seed, ratio, std) = (options.seed, options.ratio, options.noise_std);
        let (note, target) = (format!("N(0, {std}) added to {ratio} of the units"), target.clone());
        Recipe::derived(target.dense(), note, move |dense| disturbed(&target, dense, seed, ratio, std))
    }

    fn preserves(&self, config: &Config, options: &Options) -> Preservation {
        let untouched = share(config.intermediate_size, options.ratio) == 0 || options.noise_std == 0.0;
        Preservation::only_if(untouched, || "noise is added to the experts".into()).and(|| weights_sum_to_one(options))
    }

    fn record(&self, _config: &Config, options: &Options) -> Vec<(&'static str, Value)> {
        vec![("ratio", json!(options.ratio)), ("noise_std", json!(options.noise_std))]
    }
}

/// The dense matrix with noise on the chosen units.
fn disturbed(target: &Target, dense: &Tensor, seed: u64, ratio: f64, std: f64) -> Result<Tensor> {
    let dim = target.projection.unit_dim();
    let shape = dense.size();
    let units = chosen(seed, &purpose(target.layer, target.expert, "noisy units"), shape[dim as usize], ratio);
    let at = Tensor::f_from_slice(&units)?;
    let slice = dense.f_index_select(dim, &at)?;
    let draws = normal(seed, &purpose(target.layer, target.expert, &format!("noise {}", target.projection.name())), slice.numel(), std);
    let noisy = slice.f_add(&Tensor::f_from_slice(&draws)?.f_view(&slice.size()[..])?)?;
    Ok(dense.f_index_copy(dim, &at, &noisy)?)
}
