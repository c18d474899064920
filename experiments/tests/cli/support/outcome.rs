//! How a run of the binary ended, and what every end has in common.

use std::process::{Command, Output};

use serde_json::Value;

/// Runs to the end and expects the given exit code and no panic.
pub(crate) fn ended(command: &mut Command, code: i32) -> Output {
    let output = command.output().unwrap();
    let told = format!("{command:?}\nstdout: {}\nstderr: {}", stdout(&output), stderr(&output));
    assert!(!told.contains("panicked"), "{told}");
    assert_eq!(output.status.code(), Some(code), "{told}");
    output
}

/// Expects success.
pub(crate) fn done(command: &mut Command) -> Output {
    ended(command, 0)
}

/// Expects exit 2, an empty stdout and one sentence on stderr, which is returned.
pub(crate) fn refused(command: &mut Command) -> String {
    let output = ended(command, 2);
    assert_eq!(stdout(&output), "", "{command:?}");
    sentence(&output)
}

/// The one line on stderr, without its prefix.
pub(crate) fn sentence(output: &Output) -> String {
    let told = stderr(output);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 1, "one sentence expected: {told}");
    let told = lines[0].strip_prefix("coppice: ").unwrap_or_else(|| panic!("not a complaint of coppice: {told}")).to_owned();
    assert_no_echo(&told);
    told
}

/// An error must not be told twice over because it stands in a chain.
fn assert_no_echo(told: &str) {
    let parts: Vec<&str> = told.split(": ").filter(|part| part.len() > 12).collect();
    assert!(parts.windows(2).all(|pair| pair[0] != pair[1]), "told twice: {told}");
}

/// Expects success and exactly one JSON object on stdout.
pub(crate) fn json_of(command: &mut Command) -> Value {
    let text = stdout(&done(command));
    assert_eq!(text.trim_end().lines().count(), 1, "one line expected: {text}");
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(value.is_object(), "{text}");
    value
}

/// What stood on stdout.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What stood on stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
