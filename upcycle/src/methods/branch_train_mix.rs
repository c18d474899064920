//! Branch-Train-MiX (Sukhbaatar et al., arXiv 2403.07816): the MLPs of several checkpoints of one shape become experts.
//!
//! Expert `e` comes from checkpoint `e mod count`, the model itself being checkpoint 0. Everything else is the mean over all
//! checkpoints, as in the paper, or the first one's.

use coppice_models::Config;
use serde_json::{Value, json};
use tch::Tensor;

use super::{Method, Origin, Preservation, Recipe, Target};
use crate::convert::error::Result;
use crate::convert::options::{Options, Trunk, require};

/// See the module.
#[derive(Debug)]
pub(super) struct BranchTrainMix;

impl Method for BranchTrainMix {
    fn name(&self) -> &'static str {
        "branch_train_mix"
    }

    fn summary(&self) -> &'static str {
        "expert e is the MLP of checkpoint e mod their number, everything else their mean (arXiv 2403.07816)"
    }

    fn flags(&self) -> &'static [&'static str] {
        &["branch", "trunk"]
    }

    fn check(&self, _config: &Config, options: &Options) -> Result<()> {
        let (n, count) = (options.experts, checkpoints(options));
        require(count > 1, || "method branch_train_mix mixes several checkpoints and no branch is given".into())?;
        require(n % count as i64 == 0, || format!("experts {n} is no multiple of the {count} checkpoints (the model and its branches)"))
    }

    fn default_experts(&self, options: &Options) -> i64 {
        if options.branches.is_empty() { options.experts } else { checkpoints(options) as i64 } // without branches it is refused
    }

    fn recipe(&self, target: &Target, options: &Options) -> Recipe {
        Recipe::Copy(target.dense_of(target.expert % checkpoints(options)))
    }

    fn trunk(&self, name: &str, options: &Options) -> Recipe {
        if options.trunk == Trunk::First {
            return Recipe::Copy(Origin::first(name));
        }
        let count = checkpoints(options);
        let sources = (0..count).map(|checkpoint| Origin { checkpoint, tensor: name.to_owned() }).collect();
        Recipe::Elementwise { sources, make: Box::new(mean), note: format!("mean of {count} checkpoints") }
    }

    fn preserves(&self, _config: &Config, _options: &Options) -> Preservation {
        Preservation::Not("several checkpoints are mixed".into())
    }

    fn drops(&self, origin: &Origin, options: &Options) -> Option<String> {
        let branch = origin.checkpoint > 0 && options.trunk == Trunk::First;
        branch.then(|| "everything but the experts is the first checkpoint's".into())
    }

    fn record(&self, _config: &Config, options: &Options) -> Vec<(&'static str, Value)> {
        vec![("checkpoints", json!(checkpoints(options))), ("trunk", json!(options.trunk))]
    }
}

fn checkpoints(options: &Options) -> usize {
    options.branches.len() + 1
}

/// The running mean: equal tensors stay what they are, bit for bit, and nothing leaves the range of its values.
fn mean(tensors: &[Tensor]) -> Result<Tensor> {
    let mut mean = tensors[0].shallow_clone();
    for (index, tensor) in tensors.iter().enumerate().skip(1) {
        mean = mean.f_lerp(tensor, 1.0 / (index + 1) as f64)?;
    }
    Ok(mean)
}
