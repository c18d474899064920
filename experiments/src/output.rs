//! The only place that writes to the terminal: results to stdout, sentences to stderr.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

/// Prints a line of results.
///
/// # Errors
/// [`ReaderGone`] when stdout is closed, else what the system says.
pub fn line(text: impl AsRef<str>) -> Result<()> {
    writeln!(io::stdout().lock(), "{}", text.as_ref()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => ReaderGone.into(),
        _ => anyhow::Error::new(error).context("cannot write to stdout"),
    })
}

/// Prints one JSON object, alone on stdout.
///
/// # Errors
/// As [`line`].
pub fn json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string(value)?)
}

/// Tells something on stderr, without what could steer a terminal: a server's words may stand in it. A closed stderr is nobody's loss.
pub fn say(text: impl AsRef<str>) {
    let shown = |character: char| if character.is_control() && !matches!(character, '\n' | '\t') { '\u{fffd}' } else { character };
    let _ = writeln!(io::stderr().lock(), "{}", text.as_ref().chars().map(shown).collect::<String>());
}

/// Prints an error and its causes as one line; a cause that the sentence holds already is not told twice.
pub fn complain(error: &anyhow::Error) {
    let told = error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        before if before.contains(&cause) => told,
        before => format!("{before}: {cause}"),
    });
    let sentence = told.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    say(format!("coppice: {sentence}"));
}

/// A length of time in the unit that fits it.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86400.0),
    }
}

/// The reader of stdout went away, which is no fault of ours; a pipe that breaks elsewhere (a network connection) is one.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the reader of stdout went away")]
pub struct ReaderGone;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_fitting_units() {
        assert_eq!([duration(59.6), duration(600.0), duration(9000.0), duration(864_000.0)], ["60 s", "10 min", "2.5 h", "10.0 days"]);
    }
}
