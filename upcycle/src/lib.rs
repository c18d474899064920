//! Coppice.

pub mod atomic;
pub mod corpus;
pub mod tokenizer_training;
pub mod train;
pub mod world;
