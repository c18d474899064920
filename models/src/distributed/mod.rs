//! Several processes that compute as one, on c10d, the engine of torch.distributed: Gloo between CPUs, NCCL between GPUs.
//!
//! How a process learns who it is stands in [`launch`]; how it meets the others and exchanges tensors with them, in [`group`].

pub mod group;

pub use group::{Group, World};

pub use crate::ext::c10d::Work;
