//! mergekit's `hidden`: the residual stream before the layer at the last token of a prompt, averaged over an expert's positive prompts,
//! minus the same of its negative ones, of length 1.

use tch::Tensor;

use super::{Init, Request, prompts};
use crate::convert::error::Result;
use crate::convert::options::{Options, RouterInit};

/// See the module.
#[derive(Debug)]
pub(super) struct Hidden;

impl Init for Hidden {
    fn init(&self) -> RouterInit {
        RouterInit::Hidden
    }

    fn summary(&self) -> &'static str {
        "hidden state of the last token of each expert's prompts, positive minus negative (mergekit)"
    }

    fn flags(&self) -> &'static [&'static str] {
        &["router-prompts", "router-scale"]
    }

    fn note(&self, _options: &Options) -> String {
        "hidden states of prompts, last token".into()
    }

    fn reads_data(&self) -> bool {
        true
    }

    fn check(&self, request: &Request) -> Result<()> {
        prompts::check(request)
    }

    fn rows(&self, request: &Request) -> Result<Vec<Tensor>> {
        prompts::hidden_rows(request, |states| Ok(states.f_get(-1)?))
    }
}
