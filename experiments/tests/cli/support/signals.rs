//! Processes that are stopped at a chosen moment.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a process to get somewhere.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts with both streams kept.
pub(crate) fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until `reached` holds and the process listens, sends the signal, and returns how the process ended.
pub(crate) fn signal_when(mut child: Child, signal: i32, reached: impl Fn() -> bool) -> Output {
    let (begin, child_id) = (Instant::now(), child.id());
    let ready = || reached() && (signal == libc::SIGKILL || listens(child_id, signal));
    while !ready() && child.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < PATIENCE, "the moment never came");
        std::thread::sleep(Duration::from_millis(1));
    }
    // SAFETY: the child is not waited for yet, so its id is its own.
    unsafe { libc::kill(child.id() as i32, signal) };
    child.wait_with_output().unwrap()
}

/// Whether the process has a handler for the signal, as Linux tells.
fn listens(process: u32, signal: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

/// Lines of a file that may not be there yet.
pub(crate) fn lines_of(path: &Path) -> usize {
    std::fs::read(path).map_or(0, |bytes| bytes.iter().filter(|&&byte| byte == b'\n').count())
}
