//! Evaluation on benchmark tasks: quality, for the same prompts and by the same arithmetic as lm-eval 0.4.13, with what prompts share computed
//! once.
//!
//! A task is data ([`task`], [`registry`]); its rows ([`data`], [`items`]) become prompts ([`template`], [`prompt`]); prompts become tokens
//! ([`encode`]) and are scored ([`likelihood`]) or continued ([`generation`]), every answer kept as it comes ([`cache`]); answers become
//! figures ([`metrics`], [`answers`], [`results`]).

pub mod answers;
pub mod cache;
pub mod data;
pub mod encode;
pub mod generation;
pub mod items;
pub mod judged;
pub mod likelihood;
pub mod metric;
pub mod metrics;
pub mod prompt;
pub mod python_random;
pub mod registry;
pub mod results;
pub mod run;
pub mod task;
pub mod template;
