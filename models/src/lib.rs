//! What a StableLM 2 is and how it runs: configuration, checkpoints, layers (dense and routed), the KV cache, generation with
//! traces, and the accounting of FLOPs and bytes.

pub mod allocator;
pub mod attention;
pub mod cache;
pub mod candidates;
pub mod capacity;
pub mod chat;
pub mod checkpoint;
pub mod config;
pub mod continuation;
pub mod device;
pub mod distributed;
pub mod doctor;
pub mod error;
pub mod expert_parallel;
pub mod ext;
pub mod flops;
pub mod fs;
pub mod generate;
pub mod hub;
pub mod init;
pub mod measured;
pub mod model;
pub mod moe;
pub mod next_token;
pub mod observe;
pub mod packing;
pub mod remote_code;
pub mod rotary;
pub mod router;
pub mod sampling;
pub mod score;
pub mod state;
pub mod tensors;
pub mod tokenizer;

pub use checkpoint::Checkpoint;
pub use config::{Config, Gate, MoeConfig, SharedExpert};
pub use error::{Error, Result};
pub use model::Model;
