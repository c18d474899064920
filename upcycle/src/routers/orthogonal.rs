//! Orthogonal rows: no two experts are asked for by the same direction (mergekit's wish 664: random gates correlate and collapse).
//!
//! Drawn rows are made orthogonal by QR, with the signs that make every rotation as likely (Mezzadri, arXiv math-ph/0609050), and get the
//! length that drawn rows have on average, `std sqrt(D)`. More rows than `D` are orthogonal in blocks of `D`.

use tch::{Kind, Tensor};

use super::normal::drawn;
use super::{Init, Request};
use crate::convert::error::Result;
use crate::convert::options::{Options, RouterInit};

/// See the module.
#[derive(Debug)]
pub(super) struct Orthogonal;

impl Init for Orthogonal {
    fn init(&self) -> RouterInit {
        RouterInit::Orthogonal
    }

    fn summary(&self) -> &'static str {
        "drawn and made orthogonal, each row of length router-std times the root of the hidden size"
    }

    fn flags(&self) -> &'static [&'static str] {
        &["router-std"]
    }

    fn note(&self, options: &Options) -> String {
        format!("drawn and made orthogonal, rows of length {} sqrt(D)", options.router_std)
    }

    fn rows(&self, request: &Request) -> Result<Vec<Tensor>> {
        request.layers.iter().map(|&layer| rows(request, layer)).collect()
    }
}

fn rows(request: &Request, layer: usize) -> Result<Tensor> {
    let width = request.model.config.hidden_size;
    let drawn = drawn(request, layer, 1.0)?;
    let blocks = drawn.f_split(width, 0)?.iter().map(orthogonal).collect::<Result<Vec<_>>>()?;
    let length = request.options.router_std * (width as f64).sqrt();
    Ok(Tensor::f_cat(&blocks, 0)?.f_mul_scalar(length)?.f_to_kind(Kind::Float)?)
}

/// Orthonormal rows that span those of `block [R, D]`, `R <= D`, in f64.
fn orthogonal(block: &Tensor) -> Result<Tensor> {
    let (q, r) = Tensor::f_linalg_qr(&block.f_to_kind(Kind::Double)?.f_transpose(0, 1)?, "reduced")?; // [D, R], [R, R]
    Ok(q.f_mul(&r.f_diagonal(0, 0, 1)?.f_sign()?)?.f_transpose(0, 1)?)
}
