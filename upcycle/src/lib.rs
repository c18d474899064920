//! From dense to mixture of experts and on: upcycling methods and their streaming converter, the report on what a conversion preserved,
//! corpora and the synthetic world, and the trainer.

pub mod card;
mod companions;
pub mod convert;
pub mod corpus;
pub mod inspect;
mod layerwise;
pub mod merge;
pub mod methods;
pub mod pickle;
pub mod routers;
pub mod step0;
pub mod tokenizer_training;
pub mod train;
pub mod world;
pub mod writer;
