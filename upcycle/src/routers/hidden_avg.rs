//! mergekit's `hidden_avg`: the residual stream before the layer, averaged over a prompt's tokens and an expert's positive prompts,
//! minus the same of its negative ones, of length 1.

use tch::{Kind, Tensor};

use super::{Init, Request, prompts};
use crate::convert::error::Result;
use crate::convert::options::{Options, RouterInit};

/// See the module.
#[derive(Debug)]
pub(super) struct HiddenAvg;

impl Init for HiddenAvg {
    fn init(&self) -> RouterInit {
        RouterInit::HiddenAvg
    }

    fn summary(&self) -> &'static str {
        "mean hidden state of each expert's prompts, positive minus negative (mergekit)"
    }

    fn flags(&self) -> &'static [&'static str] {
        &["router-prompts", "router-scale"]
    }

    fn note(&self, _options: &Options) -> String {
        "hidden states of prompts, mean of tokens".into()
    }

    fn reads_data(&self) -> bool {
        true
    }

    fn check(&self, request: &Request) -> Result<()> {
        prompts::check(request)
    }

    fn rows(&self, request: &Request) -> Result<Vec<Tensor>> {
        prompts::hidden_rows(request, |states| Ok(states.f_mean_dim([0].as_slice(), false, Kind::Float)?))
    }
}
