//! Several ranks on this machine: the same command N times, with the variables that torchrun would set.
//!
//! Each rank leads a process group of its own, as under torchrun, so that Ctrl-C in a terminal reaches this process alone, which
//! passes it on once. When this process dies, by a second Ctrl-C or otherwise, the kernel sends the ranks SIGTERM.

mod ranks;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use std::{env, io, thread};

use anyhow::{Context, Result, bail};

use crate::common::{Outcome, interrupted};

/// How long the other ranks may go on after one has failed, to say why they cannot and to save what they have.
pub const GRACE: Duration = Duration::from_secs(20);

/// Refuses to start ranks within a rank.
pub fn refuse_within_a_rank() -> Result<()> {
    if env::var_os("RANK").is_some_and(|rank| !rank.is_empty()) {
        bail!("--nproc starts ranks by itself, but RANK is set already, as torchrun does; use one of the two");
    }
    Ok(())
}

/// Runs this very command as `count` ranks, less `--nproc`, and ends as the first of them that failed; the others get `grace`.
pub fn run(count: usize, grace: Duration) -> Result<Outcome> {
    let program = env::current_exe().context("cannot find the running program to start it again")?;
    let arguments = without_nproc(env::args_os().skip(1));
    let command = || {
        let mut command = Command::new(&program);
        command.args(&arguments);
        command
    };
    run_each(command, count, grace, interrupted())
}

/// Starts `count` commands, each with the variables of its rank, and waits for all.
fn run_each(command: impl Fn() -> Command, count: usize, grace: Duration, stop: &AtomicBool) -> Result<Outcome> {
    let port = free_port().context("cannot find a free port on 127.0.0.1 for the ranks to meet at")?;
    let mut ranks = ranks::Ranks::default();
    for rank in 0..count {
        let mut command = command();
        dress(&mut command, rank, count, port);
        ranks.start(&mut command).with_context(|| format!("cannot start rank {rank}"))?;
    }
    ranks.wait(grace, stop)
}

/// The arguments without `--nproc N` or `--nproc=N`; what follows a lone `--` is no option.
fn without_nproc(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments = arguments;
    let mut kept = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            kept.push(argument);
            break;
        }
        if argument == "--nproc" {
            arguments.next();
        } else if !argument.to_string_lossy().starts_with("--nproc=") {
            kept.push(argument);
        }
    }
    kept.extend(arguments);
    kept
}

/// A port that was free a moment ago.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Gives a command torchrun's variables, its share of the cores, a process group, and an end with this process.
fn dress(command: &mut Command, rank: usize, count: usize, port: u16) {
    let numbers = [("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", count), ("LOCAL_WORLD_SIZE", count), ("MASTER_PORT", port.into())];
    command.envs(numbers.map(|(name, number)| (name, number.to_string())));
    command.env("MASTER_ADDR", Ipv4Addr::LOCALHOST.to_string()).env_remove("TORCHELASTIC_USE_AGENT_STORE");
    if env::var_os("OMP_NUM_THREADS").is_none() {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        command.env("OMP_NUM_THREADS", (cores / count).max(1).to_string());
    }
    command.process_group(0);
    end_with_parent(command);
}

/// Asks the kernel to send the command SIGTERM when the thread that started it ends.
fn end_with_parent(command: &mut Command) {
    let ask = || {
        // SAFETY: a system call on numbers; it may be made between fork and exec.
        let answer = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes one system call, and allocates nothing.
    unsafe { command.pre_exec(ask) };
}
