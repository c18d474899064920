//! Training by several processes.

pub mod launch;
