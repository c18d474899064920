//! Training and what is told of it meanwhile, for `coppice train` and for recipes alike: a bar on a terminal, and where there is none (a
//! log file, a batch system) a line every so often.

use std::time::{Duration, Instant};

use anyhow::Result;
use coppice_upcycle::train::progress::Progress;
use coppice_upcycle::train::{Event, Outcome, Resume, Trainer};
use indicatif::{ProgressBar, ProgressStyle};

use crate::common::{Interrupted, interrupted, progress};
use crate::output;

/// Time between two lines where stderr is no terminal.
const PAUSE: Duration = Duration::from_secs(30);

/// Runs a trainer to its end; an interruption is an error after the checkpoint has been named.
pub fn run(trainer: &mut Trainer, resume: Resume, what: &str) -> Result<Outcome> {
    coppice_models::allocator::keep_freed_for_training()?;
    let mut teller = Teller::new(what);
    let leads = trainer.leads();
    let outcome = trainer.run(
        resume,
        &mut |event| {
            if leads {
                teller.tell(event);
            }
        },
        interrupted(),
    )?;
    teller.bar.finish_and_clear();
    match outcome {
        Outcome::Interrupted { step, checkpoint } => {
            if leads {
                output::say(format!("step {step} is saved in {}", checkpoint.display()));
            }
            Err(Interrupted::Kept.into())
        }
        Outcome::Finished { .. } => Ok(outcome),
    }
}

/// Tells the events of a run.
struct Teller {
    what: String,
    bar: ProgressBar,
    told: Instant, // when the last line was due
}

impl Teller {
    fn new(what: &str) -> Self {
        let bar = progress(0, what);
        let style = ProgressStyle::with_template("{prefix:>12} {wide_bar} {pos}/{len} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { what: what.to_owned(), bar, told: Instant::now() }
    }

    fn tell(&mut self, event: &Event) {
        match event {
            Event::Step(at) => self.step(at),
            Event::Note { text } => self.say(text),
            Event::Skipped { path, reason } => self.say(&format!("skipped damaged checkpoint {}: {reason}", path.display())),
            Event::Resumed { step, path } => self.say(&format!("resumed at step {step} from {}", path.display())),
            Event::Validated { step, evaluation } => {
                self.say(&format!("step {step}: validation loss {:.4}, perplexity {:.3}", evaluation.loss, evaluation.perplexity));
            }
            Event::Saved { .. } => {}
        }
    }

    fn step(&mut self, at: &Progress) {
        self.bar.set_length(at.steps);
        self.bar.set_position(at.step);
        self.bar.set_message(state(at));
        if self.bar.is_hidden() && self.due(Instant::now()) {
            output::say(format!("{}: step {} of {}, {}", self.what, at.step, at.steps, state(at)));
        }
    }

    /// Whether a line is due `now`.
    fn due(&mut self, now: Instant) -> bool {
        let due = now.duration_since(self.told) >= PAUSE;
        self.told = if due { now } else { self.told };
        due
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| output::say(text));
    }
}

/// Loss, rate, and what is left, in words.
fn state(at: &Progress) -> String {
    format!("loss {:.3}, {:.0} tokens/s, {} left", at.loss, at.tokens_per_second, output::duration(at.remaining.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_told_in_words() {
        let remaining = Duration::from_secs(9000);
        let at = Progress { step: 120, steps: 3000, loss: 2.345_67, lr: 1e-3, tokens_per_second: 1234.4, remaining };
        assert_eq!(state(&at), "loss 2.346, 1234 tokens/s, 2.5 h left");
    }

    #[test]
    fn a_line_is_due_once_a_pause() {
        let mut teller = Teller::new("train");
        let begin = teller.told;
        let due = [29, 31, 32, 60, 62].map(|seconds| teller.due(begin + Duration::from_secs(seconds)));
        assert_eq!(due, [false, true, false, false, true]);
    }
}
