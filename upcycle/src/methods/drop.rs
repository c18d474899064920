//! Drop-Upcycling (arXiv 2502.19261; `conversions/drop_upcycling.py` of Taishi-N324/Drop-Upcycling): copies, partly drawn anew.
//!
//! For each layer and expert the units are permuted, gate and up by rows and down by columns; then the slices of `floor(ratio F)` of
//! them are replaced by `N(mean, std)`, with mean and standard deviation those of the replaced slice of that matrix. The paper chooses
//! the units once for all three matrices (`shared`), the released script for each of them (`per_matrix`). The authors find ratio 0.5
//! best. A loss jump at step 0 is the price of experts that differ.

use coppice_models::Config;
use coppice_models::init::normal;
use serde_json::{Value, json};
use tch::Tensor;

use super::preserve::weights_sum_to_one;
use super::units::{chosen, permuted, purpose, share, statistics};
use super::{Method, Preservation, Recipe, Target};
use crate::convert::error::Result;
use crate::convert::options::{DropIndices, Options};

/// See the module.
#[derive(Debug)]
pub(super) struct Drop;

impl Method for Drop {
    fn name(&self) -> &'static str {
        "drop"
    }

    fn summary(&self) -> &'static str {
        "shuffled copies, a share of the units of each drawn anew with the old mean and deviation (arXiv 2502.19261)"
    }

    fn flags(&self) -> &'static [&'static str] {
        &["ratio", "drop-indices"]
    }

    fn permutes(&self) -> bool {
        true
    }

    fn recipe(&self, target: &Target, options: &Options) -> Recipe {
        let (seed, ratio, indices) = (options.seed, options.ratio, options.drop_indices);
        let (note, target) = (format!("units permuted, {ratio} of them drawn anew"), target.clone());
        Recipe::derived(target.dense(), note, move |dense| {
            let mut matrix = permuted(seed, &target, dense)?;
            redraw(&target, &mut matrix, seed, ratio, indices)?;
            Ok(matrix)
        })
    }

    fn preserves(&self, config: &Config, options: &Options) -> Preservation {
        let kept = share(config.intermediate_size, options.ratio) == 0;
        Preservation::only_if(kept, || "units of the experts are drawn anew".into()).and(|| weights_sum_to_one(options))
    }

    fn record(&self, _config: &Config, options: &Options) -> Vec<(&'static str, Value)> {
        vec![("ratio", json!(options.ratio)), ("drop_indices", json!(options.drop_indices))]
    }
}

/// Replaces the chosen units of a permuted matrix.
fn redraw(target: &Target, matrix: &mut Tensor, seed: u64, ratio: f64, indices: DropIndices) -> Result<()> {
    let (dim, name) = (target.projection.unit_dim(), target.projection.name());
    let which = match indices {
        DropIndices::Shared => "dropped units".to_owned(),
        DropIndices::PerMatrix => format!("dropped units {name}"),
    };
    let units = chosen(seed, &purpose(target.layer, target.expert, &which), matrix.size()[dim as usize], ratio);
    if units.is_empty() {
        return Ok(());
    }
    let at = Tensor::f_from_slice(&units)?;
    let old = matrix.f_index_select(dim, &at)?;
    let (mean, std) = statistics(&old)?;
    let draws = normal(seed, &purpose(target.layer, target.expert, &format!("drop {name}")), old.numel(), std);
    let new = Tensor::f_from_slice(&draws)?.f_add_scalar(mean)?.f_view(&old.size()[..])?;
    let _ = matrix.f_index_copy_(dim, &at, &new)?;
    Ok(())
}
