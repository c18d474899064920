//! What a StableLM 2 is and how it runs: configuration, checkpoints, layers (dense and routed), the KV cache, generation with
//! traces, and the accounting of FLOPs and bytes.

pub mod config;
pub mod error;

pub use config::{Config, Gate, MoeConfig};
pub use error::{Error, Result};
