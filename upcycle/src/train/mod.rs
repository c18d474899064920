//! Continued training of a dense or routed StableLM 2: AdamW, schedules, losses with balance, batches, checkpoints, metrics.
//!
//! One seed decides everything: on CPU the same recipe gives the same bits, and a run that was interrupted or killed and then resumed
//! ends in the same weights as one that was not. A run folder holds `metrics.jsonl`, `checkpoints/step-…/` and, at the end, `model/`.

pub mod balancing;
pub mod checkpoint;
mod clock;
pub mod data;
pub mod error;
pub mod experts;
pub mod export;
pub mod hardware;
pub mod losses;
pub mod metrics;
pub mod notes;
pub mod optimizer;
pub mod plan;
pub mod progress;
pub mod recipe;
pub mod schedule;
pub mod start;
mod step;
pub mod tensorboard;
pub mod trainer;
pub mod watchdog;

pub use data::TokenStream;
pub use error::{Result, TrainError};
pub use losses::{Cut, Evaluation, evaluate_loss};
pub use progress::{Event, Outcome, Progress, Resume};
pub use recipe::{Precision, TrainConfig};
pub use trainer::Trainer;
