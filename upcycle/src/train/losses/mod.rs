//! Losses, one file each: next-token cross entropy in chunks, load balance with its adaptive coefficient, router z-loss; and the cross
//! entropy alone, for held-out tokens.

mod adaptive;
mod balance;
mod cross_entropy;
mod evaluation;
mod router_z;

pub use adaptive::Adaptive;
pub use balance::{BalanceLevel, global_batch, micro_batch, probabilities, sequence};
pub(super) use cross_entropy::chunk_rows;
pub use cross_entropy::{Head, cross_entropy_gradients};
pub use evaluation::{Cut, Evaluation, evaluate_loss};
pub use router_z::router_z;
