//! Rows of zeros: every expert is as likely for every token, ties go to the lower index.
//!
//! It makes `softmax_topk` exact with the right scaling. But the chosen are always the first `K`, and equal experts get equal gradients,
//! so nothing but the balance loss, a bias or jitter tells them apart.

use tch::{Device, Kind, Tensor};

use super::{Init, Request};
use crate::convert::error::Result;
use crate::convert::options::{Options, RouterInit};

/// See the module.
#[derive(Debug)]
pub(super) struct Zero;

impl Init for Zero {
    fn init(&self) -> RouterInit {
        RouterInit::Zero
    }

    fn summary(&self) -> &'static str {
        "zeros: every expert is as likely, ties go to the first"
    }

    fn flags(&self) -> &'static [&'static str] {
        &[]
    }

    fn note(&self, _options: &Options) -> String {
        "zeros".into()
    }

    fn rows(&self, request: &Request) -> Result<Vec<Tensor>> {
        let shape = [request.rows, request.model.config.hidden_size];
        let zeros = |_: &usize| Ok(Tensor::f_zeros(shape, (Kind::Float, Device::Cpu))?);
        request.layers.iter().map(zeros).collect()
    }
}
