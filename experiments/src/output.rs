//! The only place that writes to the terminal: results to stdout, sentences to stderr.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

/// Prints a line of results.
///
/// # Errors
/// When stdout is closed.
pub fn line(text: impl AsRef<str>) -> Result<()> {
    writeln!(io::stdout().lock(), "{}", text.as_ref())?;
    Ok(())
}

/// Prints one JSON object, alone on stdout.
///
/// # Errors
/// When stdout is closed.
pub fn json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string(value)?)
}

/// Tells something on stderr; a closed stderr is nobody's loss.
pub fn say(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
}

/// Prints an error as one line.
pub fn complain(error: &anyhow::Error) {
    let sentence = format!("{error:#}").lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    say(format!("coppice: {sentence}"));
}

/// Whether the reader of stdout went away, which is no fault of ours.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe))
}
