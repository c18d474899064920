//! Rows from `N(0, std)` (arXiv 2212.05055 and most others; 0.02 by default).

use coppice_models::init::normal;
use tch::Tensor;

use super::{Init, Request, router_name};
use crate::convert::error::Result;
use crate::convert::options::{Options, RouterInit};

/// See the module.
#[derive(Debug)]
pub(super) struct Normal;

impl Init for Normal {
    fn init(&self) -> RouterInit {
        RouterInit::Normal
    }

    fn summary(&self) -> &'static str {
        "drawn from N(0, router-std)"
    }

    fn flags(&self) -> &'static [&'static str] {
        &["router-std"]
    }

    fn note(&self, options: &Options) -> String {
        format!("drawn from N(0, {})", options.router_std)
    }

    fn rows(&self, request: &Request) -> Result<Vec<Tensor>> {
        request.layers.iter().map(|&layer| drawn(request, layer, request.options.router_std)).collect()
    }
}

/// Rows `[rows, D]` from `N(0, std)`, seeded by the conversion's seed and the router's name.
pub(super) fn drawn(request: &Request, layer: usize, std: f64) -> Result<Tensor> {
    let (rows, width) = (request.rows, request.model.config.hidden_size);
    let values = normal(request.options.seed, &router_name(layer), (rows * width) as usize, std);
    Ok(Tensor::f_from_slice(&values)?.f_view([rows, width])?)
}
