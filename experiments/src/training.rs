//! Training with a progress bar, for `coppice train` and for recipes alike.

use anyhow::Result;
use coppice_upcycle::train::{Event, Outcome, Resume, Trainer};

use crate::common::{Interrupted, interrupted, progress};
use crate::output;

/// Runs a trainer to its end; an interruption is an error after the checkpoint has been named.
pub fn run(trainer: &mut Trainer, resume: Resume, what: &str) -> Result<Outcome> {
    coppice_models::allocator::keep_freed_for_training()?;
    let bar = progress(0, what);
    let mut tell = |event: &Event| match event {
        Event::Note { text } => bar.suspend(|| output::say(text)),
        Event::Step(at) => {
            bar.set_length(at.steps);
            bar.set_position(at.step);
            bar.set_message(format!("loss {:.3}  {:.0} tokens/s", at.loss, at.tokens_per_second));
        }
        Event::Skipped { path, reason } => bar.suspend(|| output::say(format!("skipped damaged checkpoint {}: {reason}", path.display()))),
        Event::Resumed { step, path } => bar.suspend(|| output::say(format!("resumed at step {step} from {}", path.display()))),
        Event::Validated { step, evaluation } => {
            bar.suspend(|| {
                output::say(format!("step {step}: validation loss {:.4}, perplexity {:.3}", evaluation.loss, evaluation.perplexity));
            });
        }
        Event::Saved { .. } => {}
    };
    let outcome = trainer.run(resume, &mut tell, interrupted())?;
    bar.finish_and_clear();
    match outcome {
        Outcome::Interrupted { step, checkpoint } => {
            output::say(format!("step {step} is saved in {}", checkpoint.display()));
            Err(Interrupted::Kept.into())
        }
        Outcome::Finished { .. } => Ok(outcome),
    }
}
