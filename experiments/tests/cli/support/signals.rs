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

/// Waits until `reached` holds, sends the signal, and returns how the process ended.
pub(crate) fn signal_when(mut child: Child, signal: i32, reached: impl Fn() -> bool) -> Output {
    let begin = Instant::now();
    while !reached() && child.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < PATIENCE, "the moment never came");
        std::thread::sleep(Duration::from_millis(1));
    }
    // SAFETY: the child is not waited for yet, so its id is its own.
    unsafe { libc::kill(child.id() as i32, signal) };
    child.wait_with_output().unwrap()
}

/// Lines of a file that may not be there yet.
pub(crate) fn lines_of(path: &Path) -> usize {
    std::fs::read(path).map_or(0, |bytes| bytes.iter().filter(|&&byte| byte == b'\n').count())
}
