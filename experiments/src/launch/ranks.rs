//! Running ranks: waiting for all, passing an interruption on, and ending the rest when one has failed.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::common::Outcome;
use crate::output;

/// Between two looks at the ranks.
const PAUSE: Duration = Duration::from_millis(20);

/// The exit code of a rank that stopped because it was told to.
const INTERRUPTED: i32 = 130;

/// Processes by rank; those still running when dropped are killed.
#[derive(Debug, Default)]
pub(super) struct Ranks {
    /// With how each ended, once it has.
    all: Vec<(Child, Option<ExitStatus>)>,
    /// Exit code of the first that failed, and when that was seen.
    failure: Option<(u8, Instant)>,
    /// Whether the ranks have been told to stop.
    told: bool,
}

impl Ranks {
    /// Starts the next rank.
    pub(super) fn start(&mut self, command: &mut Command) -> io::Result<()> {
        self.all.push((command.spawn()?, None));
        Ok(())
    }

    /// Waits for all. Once one has failed the others have `grace` before they are killed; ranks that were told to stop because
    /// `stop` is set have all the time they need.
    pub(super) fn wait(mut self, grace: Duration, stop: &AtomicBool) -> Result<Outcome> {
        while self.look()? {
            if !self.told && stop.load(Ordering::SeqCst) {
                self.told = true;
                self.signal(libc::SIGTERM);
            }
            if self.failure.is_some_and(|(_, since)| since.elapsed() >= grace) {
                self.kill(grace);
            }
            sleep(PAUSE);
        }
        Ok(self.outcome())
    }

    /// Notes who has ended; whether any runs on.
    fn look(&mut self) -> Result<bool> {
        for rank in 0..self.all.len() {
            let (child, ended) = &mut self.all[rank];
            if ended.is_none() {
                *ended = child.try_wait().with_context(|| format!("cannot wait for rank {rank}"))?;
                if let Some(status) = *ended {
                    self.note(rank, status);
                }
            }
        }
        Ok(self.running().next().is_some())
    }

    /// Remembers and tells the first failure; stopping when told to is none.
    fn note(&mut self, rank: usize, status: ExitStatus) {
        let obeyed = self.told && (status.code() == Some(INTERRUPTED) || status.signal() == Some(libc::SIGTERM));
        if status.success() || obeyed || self.failure.is_some() {
            return;
        }
        output::say(format!("coppice: rank {rank} {}", ending(status)));
        let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        self.failure = Some((code, Instant::now()));
    }

    fn running(&mut self) -> impl Iterator<Item = (usize, &mut Child)> {
        self.all.iter_mut().enumerate().filter(|(_, (_, ended))| ended.is_none()).map(|(rank, (child, _))| (rank, child))
    }

    fn signal(&mut self, signal: libc::c_int) {
        for (_, child) in self.running() {
            // SAFETY: a system call on numbers; the child has not been waited for, so its number is still its own.
            unsafe { libc::kill(child.id() as libc::pid_t, signal) };
        }
    }

    fn kill(&mut self, grace: Duration) {
        let seconds = grace.as_secs_f64();
        for (rank, child) in self.running() {
            output::say(format!("coppice: rank {rank} has not ended {seconds:.0} s after the first failure and is killed"));
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// As the first failure, else interrupted where any rank stopped before its end, else done.
    fn outcome(&self) -> Outcome {
        let whole = self.all.iter().all(|(_, ended)| ended.is_some_and(|status| status.success()));
        match self.failure {
            Some((code, _)) => Outcome::Exit(code),
            None if whole => Outcome::Done,
            None => Outcome::Exit(INTERRUPTED as u8),
        }
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        for (_, child) in self.running() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}{}", name_of(signal)),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// The name of a signal that ends processes, in brackets.
fn name_of(signal: i32) -> &'static str {
    match signal {
        libc::SIGINT => " (SIGINT)",
        libc::SIGTERM => " (SIGTERM)",
        libc::SIGKILL => " (SIGKILL, which the system sends when memory runs out)",
        libc::SIGSEGV => " (SIGSEGV)",
        libc::SIGABRT => " (SIGABRT)",
        libc::SIGBUS => " (SIGBUS)",
        _ => "",
    }
}
