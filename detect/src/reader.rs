//! Records from JSON lines, one at a time: a bad line is an item with a reason, and the lines after it are still read.
//!
//! An id names one record of a file: verdicts, labels and reviews refer to records by it. Of several lines with one id the first is the record
//! and every later one is a bad line that says where the first stands.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::io::{self, BufRead};

use serde_json::Value;

use crate::record::{Inconsistency, Record};

/// Why a line is not a record.
#[derive(Debug, thiserror::Error)]
pub struct RecordError {
    /// The line's number from 1, where it is one of many.
    pub line: Option<usize>,
    /// The line's `id` as it stands there, where it could still be read as a text or a number.
    pub id: Option<Value>,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => self.reason.fmt(f),
        }
    }
}

/// What is wrong with a line, or with the input as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// Reading stopped here.
    #[error("cannot read on: {0}")]
    Io(#[from] io::Error),
    /// The input has no line at all.
    #[error("the input is empty; expected one JSON record a line")]
    EmptyInput,
    /// Nothing but white space.
    #[error("the line is empty; expected a JSON record")]
    EmptyLine,
    /// Not text.
    #[error("not UTF-8 from byte {0} of the line on")]
    NotUtf8(usize),
    /// Not JSON, or not the fields of a record.
    #[error("not a record: {0}")]
    Json(String),
    /// A record that contradicts itself.
    #[error("inconsistent record: {0}")]
    Inconsistent(#[from] Inconsistency),
    /// A record of this id stands further up.
    #[error("`id` {id:?} already stands in line {first}; an id names one record of a file")]
    Duplicate {
        /// The id.
        id: String,
        /// The line that has it first, from 1.
        first: usize,
    },
}

impl From<Reason> for RecordError {
    fn from(reason: Reason) -> Self {
        Self { line: None, id: None, reason }
    }
}

/// Every line of `input` as (line number from 1, record or what is wrong with it). An input of no bytes yields one error; a failing read
/// yields its error and ends the iteration. A repeated id is an error of the later line.
pub fn read_records(input: impl BufRead) -> impl Iterator<Item = (usize, Result<Record, RecordError>)> {
    let mut ids = Ids::default();
    read_lines(input).map(move |(number, line)| (number, line.and_then(|line| ids.first(number, parse_numbered(number, &line)))))
}

/// Every line of `input` with its number from 1, unread, as [`read_records`] numbers and ends them.
pub(crate) fn read_lines(input: impl BufRead) -> impl Iterator<Item = (usize, Result<Vec<u8>, RecordError>)> {
    let mut lines = input.split(b'\n').zip(1..).peekable();
    let nothing = lines.peek().is_none().then(|| (1, Err(Reason::EmptyInput.into())));
    let mut failed = false;
    let lines = lines.map_while(move |(line, number)| {
        let go_on = !failed;
        failed |= line.is_err();
        go_on.then(|| (number, line.map_err(|error| numbered(number, Reason::Io(error).into()))))
    });
    nothing.into_iter().chain(lines)
}

/// [`parse_line`], with the line's number in its error.
pub(crate) fn parse_numbered(number: usize, line: &[u8]) -> Result<Record, RecordError> {
    parse_line(line).map_err(|error| numbered(number, error))
}

fn numbered(number: usize, error: RecordError) -> RecordError {
    RecordError { line: Some(number), ..error }
}

/// The ids read so far, each with its line.
#[derive(Debug, Default)]
pub(crate) struct Ids(HashMap<String, usize>);

impl Ids {
    /// The record of a line, unless an earlier line has its id.
    pub(crate) fn first(&mut self, line: usize, record: Result<Record, RecordError>) -> Result<Record, RecordError> {
        let record = record?;
        match self.0.entry(record.id.clone()) {
            Entry::Vacant(place) => drop(place.insert(line)),
            Entry::Occupied(first) => {
                let reason = Reason::Duplicate { id: record.id.clone(), first: *first.get() };
                return Err(RecordError { line: Some(line), id: Some(Value::String(record.id)), reason });
            }
        }
        Ok(record)
    }
}

/// One line, without its line feed, as a checked record. A byte order mark and a carriage return are passed over.
///
/// # Errors
/// Says what is wrong, and which `id` the line had if it is JSON at all.
pub fn parse_line(line: &[u8]) -> Result<Record, RecordError> {
    let text = std::str::from_utf8(line).map_err(|error| Reason::NotUtf8(error.valid_up_to() + 1))?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err(Reason::EmptyLine.into());
    }
    let named = |reason| RecordError { line: None, id: id_of(text), reason };
    let record: Record = serde_json::from_str(text).map_err(|error| named(Reason::Json(within_line(&error))))?;
    record.check().map_err(|error| named(error.into()))?;
    Ok(record)
}

/// serde_json's message without its own line number, which is always 1 here.
fn within_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

fn id_of(text: &str) -> Option<Value> {
    let id = serde_json::from_str::<Value>(text).ok()?.get_mut("id")?.take();
    (id.is_string() || id.is_number()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(line: &str) -> String {
        parse_line(line.as_bytes()).expect_err("the line is bad").to_string()
    }

    fn with(fields: &str) -> String {
        format!(r#"{{"id":"a","prompt":"p","response":"r",{fields}}}"#)
    }

    #[test]
    fn says_what_is_wrong_with_a_line() {
        let cases = [
            ("", "the line is empty"),
            ("{", "at column 1"),
            (r#"{"id":"a"}"#, "missing field `prompt`"),
            (&with(r#""token_logprobs":[NaN]"#), "expected value"),
            (&with(r#""token_logprobs":[-1,1e999]"#), "number out of range"),
            (&with(r#""token_logprobs":[-1,0.5]"#), "token_logprobs[1] is 0.5"),
            (&with(r#""token_entropies":[-1]"#), "token_entropies[0] is -1"),
            (&with(r#""tokens":[1,2],"token_logprobs":[-1]"#), "tokens has 2 entries but token_logprobs has 1"),
            (&with(r#""samples":[{"text":"s"},{"text":"t","token_logprobs":[2]}]"#), "samples[1].token_logprobs[0] is 2"),
            (&with(r#""top_logprobs":[[[1,3]]]"#), "top_logprobs[0][0] is 3"),
            (&with(r#""label":2"#), "`label` is 2"),
        ];
        for (line, expected) in cases {
            assert!(complaint(line).contains(expected), "{line}: {}", complaint(line));
        }
        let not_text = parse_line(b"{\"id\":\"\xff\"}").expect_err("not UTF-8").to_string();
        assert_eq!(not_text, "not UTF-8 from byte 8 of the line on");
    }

    #[test]
    fn keeps_the_id_of_a_bad_record() {
        let error = parse_line(with(r#""label":2"#).as_bytes()).expect_err("the label is bad");
        assert_eq!(error.id, Some("a".into()));
        let numbered = parse_line(br#"{"id":7,"prompt":"p","response":"r"}"#).expect_err("an id is a text");
        assert_eq!((numbered.id, numbered.reason.to_string().contains("expected a string")), (Some(7.into()), true));
        assert_eq!(parse_line(br#"{"id":[7],"prompt":"p"}"#).expect_err("no id").id, None);
    }

    #[test]
    fn of_lines_with_one_id_the_first_is_the_record() {
        let (a, b) = (with(r#""label":0"#), with(r#""label":1"#));
        let read: Vec<_> = read_records(format!("{a}\nrubbish\n{b}\n").as_bytes()).map(|(_, result)| result).collect();
        assert_eq!(read[0].as_ref().expect("good").label, Some(0));
        let error = read[2].as_ref().expect_err("repeated");
        assert_eq!(error.to_string(), "line 3: `id` \"a\" already stands in line 1; an id names one record of a file");
        assert_eq!(error.id, Some("a".into()));
    }

    #[test]
    fn reads_on_after_a_bad_line_and_numbers_lines_from_one() {
        let good = with(r#""samples":null,"unknown":[1]"#);
        let input = format!("{good}\r\nrubbish\n\n{}\n", good.replace("\"a\"", "\"b\""));
        let read: Vec<(usize, bool)> = read_records(input.as_bytes()).map(|(line, result)| (line, result.is_ok())).collect();
        assert_eq!(read, [(1, true), (2, false), (3, false), (4, true)]);
    }

    #[test]
    fn an_empty_input_is_an_error() {
        let read: Vec<_> = read_records(&b""[..]).collect();
        assert!(matches!(read.as_slice(), [(1, Err(RecordError { reason: Reason::EmptyInput, .. }))]));
    }

    #[test]
    fn a_failing_read_ends_the_input() {
        struct Broken;
        impl io::Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is gone"))
            }
        }
        let read: Vec<_> = read_records(io::BufReader::new(Broken)).take(5).collect();
        assert!(matches!(read.as_slice(), [(1, Err(RecordError { reason: Reason::Io(_), .. }))]));
    }

    #[test]
    fn absent_fields_are_not_written() {
        let record = Record { id: "a".into(), prompt: "p".into(), response: "r".into(), ..Record::default() };
        assert_eq!(serde_json::to_string(&record).expect("plain data"), r#"{"id":"a","prompt":"p","response":"r"}"#);
    }
}
