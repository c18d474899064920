//! Questions from JSON lines: `{"prompt"}` or `{"messages"}`, or whole records, whose response is kept.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::io::BufRead;

use serde_json::{Map, Value};

use super::ask::{Input, Turn};
use crate::record::Record;

/// What is to be answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The record so far. Its response is empty, unless the line has one.
    pub record: Record,
    /// What the model is given.
    pub input: Input,
    /// The line as it stands: what a record does not know is kept all the same.
    fields: Map<String, Value>,
}

/// Why a line is no question.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct QuestionError {
    /// The line's number from 1.
    pub line: usize,
    /// Its `id`, where it could still be read.
    pub id: Option<Value>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for QuestionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// Every line as a question or what is wrong with it; an input without a line is one error. A line without `id` is named by its number; of
/// several lines with one id the first counts.
pub fn read_questions(input: impl BufRead) -> Vec<Result<Question, QuestionError>> {
    let mut lines_of = HashMap::new();
    let mut question = |line: std::io::Result<Vec<u8>>, number| -> Result<Question, Fault> {
        let line = line.map_err(|error| (None, format!("cannot read on: {error}")))?;
        first(parse(&line, number)?, number, &mut lines_of)
    };
    let numbered = input.split(b'\n').zip(1..);
    let questions: Vec<_> =
        numbered.map(|(text, line)| question(text, line).map_err(|(id, reason)| QuestionError { line, id, reason })).collect();
    if questions.is_empty() {
        vec![Err(QuestionError { line: 1, id: None, reason: "the input is empty; expected one JSON object a line".to_owned() })]
    } else {
        questions
    }
}

type Fault = (Option<Value>, String);

/// The question, unless an earlier line has its id.
fn first(question: Question, line: usize, lines_of: &mut HashMap<String, usize>) -> Result<Question, Fault> {
    let id = question.record.id.clone();
    match lines_of.entry(id.clone()) {
        Entry::Vacant(place) => drop(place.insert(line)),
        Entry::Occupied(first) => {
            let reason = format!("`id` {id:?} already stands in line {}; an id names one question of a file", first.get());
            return Err((Some(id.into()), reason));
        }
    }
    Ok(question)
}

fn parse(line: &[u8], number: usize) -> Result<Question, Fault> {
    let text =
        std::str::from_utf8(line).map_err(|error| (None, format!("not UTF-8 from byte {} of the line on", error.valid_up_to() + 1)))?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err((None, "the line is empty; expected a JSON object".to_owned()));
    }
    let fields: Map<String, Value> = serde_json::from_str(text).map_err(|error| (None, no_question(&error)))?;
    let id = fields.get("id").filter(|id| id.is_string() || id.is_number()).cloned();
    Question::of(fields, number).map_err(|reason| (id, reason))
}

impl Question {
    fn of(mut fields: Map<String, Value>, line: usize) -> Result<Self, String> {
        fields.insert("id".to_owned(), id(fields.get("id"), line)?.into());
        let turns = turns(fields.get("messages"))?;
        let mut record = fields.clone();
        record.remove("messages");
        match (&turns, fields.get("prompt")) {
            (None, None | Some(Value::Null)) => return Err("neither `prompt` nor `messages`; expected one of them".to_owned()),
            (Some(turns), None | Some(Value::Null)) => drop(record.insert("prompt".to_owned(), transcript(turns).into())),
            _ => (),
        }
        if record.get("response").is_none_or(Value::is_null) {
            record.insert("response".to_owned(), "".into());
        }
        let record: Record = serde_json::from_value(Value::Object(record)).map_err(|error| no_question(&error))?;
        record.check().map_err(|error| format!("inconsistent record: {error}"))?;
        let input = turns.map_or_else(|| Input::Text(record.prompt.clone()), Input::Chat);
        Ok(Self { record, input, fields })
    }

    /// Whether the line brings its own response.
    pub fn is_answered(&self) -> bool {
        !self.record.response.is_empty()
    }

    /// Where the record comes from, `told` of the model that was asked. Beside a response that the line brings it tells of the samples alone,
    /// under `samples_from`.
    pub fn source(&self, told: Map<String, Value>) -> Value {
        let mut source = match self.record.source.clone() {
            Some(Value::Object(fields)) => fields,
            Some(other) => Map::from_iter([("given".to_owned(), other)]),
            None => Map::new(),
        };
        match self.is_answered() {
            true => drop(source.insert("samples_from".to_owned(), Value::Object(told))),
            false => source.extend(told),
        }
        Value::Object(source)
    }

    /// The record as it is written: with the fields of the line that a record does not know.
    ///
    /// # Errors
    /// Never for a record that was read: plain data can be written.
    pub fn completed(&self, record: &Record) -> Result<Value, serde_json::Error> {
        let mut fields = self.fields.clone();
        if let Value::Object(known) = serde_json::to_value(record)? {
            fields.extend(known);
        }
        Ok(Value::Object(fields))
    }
}

fn id(given: Option<&Value>, line: usize) -> Result<String, String> {
    match given {
        None | Some(Value::Null) => Ok(line.to_string()),
        Some(Value::String(id)) if !id.is_empty() => Ok(id.clone()),
        Some(Value::Number(id)) => Ok(id.to_string()),
        Some(other) => Err(format!("`id` is {other}; expected a text that is not empty, or a number")),
    }
}

fn turns(given: Option<&Value>) -> Result<Option<Vec<Turn>>, String> {
    let Some(messages) = given.filter(|messages| !messages.is_null()) else { return Ok(None) };
    let turns = serde_json::from_value::<Vec<Turn>>(messages.clone());
    let turns = turns.map_err(|error| format!("`messages` are no list of {{\"role\", \"content\"}}: {error}"))?;
    if turns.is_empty() { Err("`messages` is empty; expected at least one".to_owned()) } else { Ok(Some(turns)) }
}

/// A chat as one text: a user's only message as it is, else every message after its role.
fn transcript(turns: &[Turn]) -> String {
    match turns {
        [only] if only.role == "user" => only.content.clone(),
        several => several.iter().map(|turn| format!("{}: {}", turn.role, turn.content)).collect::<Vec<_>>().join("\n\n"),
    }
}

/// serde_json's message without its own line number, which is always 1 here.
fn no_question(error: &serde_json::Error) -> String {
    format!("not a question: {}", error.to_string().replace(" at line 1 column ", " at column "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(lines: &str) -> Vec<Result<Question, String>> {
        read_questions(lines.as_bytes()).into_iter().map(|question| question.map_err(|error| error.to_string())).collect()
    }

    #[test]
    fn a_question_is_a_prompt_a_chat_or_a_record() {
        let lines = r#"{"prompt":"Why?"}
{"id":7,"messages":[{"role":"user","content":"How?"}],"label":1,"topic":"t"}
{"id":"a","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Who?"}]}
{"id":"b","prompt":"p","response":"r","token_logprobs":[-1],"samples":[{"text":"s"}]}"#;
        let questions: Vec<Question> = read(lines).into_iter().map(|question| question.expect("a question")).collect();
        let ids: Vec<&str> = questions.iter().map(|question| question.record.id.as_str()).collect();
        assert_eq!(ids, ["1", "7", "a", "b"]);
        assert_eq!((questions[0].input.clone(), questions[0].is_answered()), (Input::Text("Why?".into()), false));
        assert_eq!((questions[1].record.prompt.as_str(), questions[1].record.label), ("How?", Some(1)));
        assert_eq!(questions[1].input, Input::Chat(vec![Turn::user("How?")]));
        assert_eq!(questions[2].record.prompt, "system: Be brief.\n\nuser: Who?");
        assert!(questions[3].is_answered());
        let written = questions[1].completed(&questions[1].record).expect("plain data");
        assert_eq!((&written["topic"], &written["id"], &written["prompt"]), (&json!("t"), &json!("7"), &json!("How?")));
    }

    #[test]
    fn a_line_that_is_no_question_says_why() {
        let cases = [
            ("rubbish", "line 1: not a question: expected value"),
            ("[1]", "not a question"),
            ("", "the input is empty"),
            ("\n", "the line is empty"),
            (r#"{"id":"a"}"#, "neither `prompt` nor `messages`"),
            (r#"{"prompt":7}"#, "not a question"),
            (r#"{"id":[],"prompt":"p"}"#, "`id` is []"),
            (r#"{"messages":[]}"#, "`messages` is empty"),
            (r#"{"messages":[{"role":"user"}]}"#, "missing field `content`"),
            (r#"{"prompt":"p","label":3}"#, "`label` is 3"),
            ("{\"prompt\":\"p\"}\n{\"id\":1,\"prompt\":\"q\"}", "line 2: `id` \"1\" already stands in line 1"),
        ];
        for (lines, expected) in cases {
            let told = read(lines).into_iter().find_map(Result::err).unwrap_or_default();
            assert!(told.contains(expected), "{lines}: {told}");
        }
    }
}
