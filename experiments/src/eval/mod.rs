//! Benchmark evaluation. A [`Task`](task::Task) is data: files of rows, templates, metrics. Its rows become [items](item), the items tokens, and the
//! model's numbers figures with standard errors, by the conventions of lm-evaluation-harness 0.4.13, item by item.
//!
//! Examples are the first rows of their file (the harness's sampler `first_n`), the same for all items, so that a model reads them once.

pub mod asking;
pub mod builtin;
pub mod encode;
mod item;
pub mod ledger;
mod metric;
mod rows;
pub mod run;
pub mod task;
mod template;

pub use item::Question;
pub use metric::{Figure, Outcome};
