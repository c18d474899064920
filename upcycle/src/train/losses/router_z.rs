//! The router z-loss: large logits are what makes routers unstable in low precision.

use coppice_models::moe::Routing;
use tch::{Kind, Tensor};

use crate::train::error::Result;

/// Router z-loss of one layer, the mean over tokens of `logsumexp(logits [T, N])^2`: a scalar (ST-MoE, arXiv 2202.08906, eq. 5). Its
/// minimum is 0, where each token's `exp(logits)` sum to 1; zero logits give `(ln N)^2`.
///
/// # Errors
/// When libtorch fails.
pub fn router_z(routing: &Routing) -> Result<Tensor> {
    Ok(routing.logits.f_logsumexp([-1].as_slice(), false)?.f_square()?.f_mean(Kind::Float)?)
}
