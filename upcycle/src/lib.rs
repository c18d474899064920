//! Coppice.

pub mod atomic;
pub mod convert;
pub mod corpus;
pub mod methods;
pub mod step0;
pub mod tokenizer_training;
pub mod train;
pub mod world;
pub mod writer;
