//! The options that only some methods know.

use anyhow::Result;
use clap::Args;
use coppice_upcycle::convert::Options;
use coppice_upcycle::convert::options::{DropIndices, Scaling, SharedStart, Trunk};
use coppice_upcycle::methods::{self, Method};

use super::choices::refuse_foreign;
use crate::common::resolve_model;

/// How experts differ from the dense MLP and from each other.
#[derive(Debug, Args)]
pub(super) struct GrowthArgs {
    /// Parts the dense MLP is split into: each expert has 1/G of its width. Default: 1.
    #[arg(long, value_name = "G")]
    granularity: Option<i64>,
    /// Choose the parts of a split MLP together, now and in training.
    #[arg(long)]
    group_selection: bool,
    /// Share of the hidden units that are drawn anew or disturbed. Default: 0.5.
    #[arg(long, value_name = "R")]
    ratio: Option<f64>,
    /// Standard deviation of the noise. Default: 0.02.
    #[arg(long, value_name = "S")]
    noise_std: Option<f64>,
    /// Whether an expert's units are chosen once or for each matrix: shared or per_matrix. Default: shared.
    #[arg(long, value_name = "HOW")]
    drop_indices: Option<DropIndices>,
    /// What makes up for the weights of parts: down, sqrt_up_down, cube_root (not exact) or none. Default: down.
    #[arg(long, value_name = "HOW")]
    scaling: Option<Scaling>,
    /// How routed experts beside a shared one start: zero or copies. Default: zero.
    #[arg(long, value_name = "HOW")]
    shared_start: Option<SharedStart>,
    /// Give the shared expert a sigmoid gate.
    #[arg(long)]
    shared_gate: bool,
    /// A further dense checkpoint of the same shape, folder or ID; once for each.
    #[arg(long, value_name = "DIR")]
    branch: Vec<String>,
    /// Where everything but the MLPs comes from: average or first. Default: average.
    #[arg(long, value_name = "HOW")]
    trunk: Option<Trunk>,
}

impl GrowthArgs {
    /// Enters what is given into the options.
    pub(super) fn apply(&self, method: &dyn Method, options: &mut Options) -> Result<()> {
        let owners: Vec<_> = methods::ALL.iter().map(|method| (method.name(), method.flags())).collect();
        refuse_foreign("method", method.name(), &self.given(), &owners)?;
        options.granularity = self.granularity;
        options.group_selection = self.group_selection;
        options.ratio = self.ratio.unwrap_or(options.ratio);
        options.noise_std = self.noise_std.unwrap_or(options.noise_std);
        options.drop_indices = self.drop_indices.unwrap_or_default();
        options.scaling = self.scaling.unwrap_or_default();
        options.shared_start = self.shared_start.unwrap_or_default();
        options.shared_gate = self.shared_gate;
        options.branches = self.branch.iter().map(|name| resolve_model(name)).collect::<Result<_>>()?;
        options.trunk = self.trunk.unwrap_or_default();
        Ok(())
    }

    /// Every option and whether it is given; granularity 1 is every method's.
    fn given(&self) -> [(&'static str, bool); 10] {
        [
            ("granularity", self.granularity.is_some_and(|parts| parts != 1)),
            ("group-selection", self.group_selection),
            ("ratio", self.ratio.is_some()),
            ("noise-std", self.noise_std.is_some()),
            ("drop-indices", self.drop_indices.is_some()),
            ("scaling", self.scaling.is_some()),
            ("shared-start", self.shared_start.is_some()),
            ("shared-gate", self.shared_gate),
            ("branch", !self.branch.is_empty()),
            ("trunk", self.trunk.is_some()),
        ]
    }
}
