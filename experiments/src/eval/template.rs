//! Templates and expressions over the columns of a row.
//!
//! Jinja as lm-eval sets it up: an unknown column is an error, and a final line feed is kept. Beside Jinja's own filters there are `index` (place
//! of a value in a list) and `regex_replace`.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, Serde};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use regex::Regex;

use super::data::Row;

/// Instructions a template may spend on one row.
const FUEL: u64 = 10_000_000;

/// Renders templates and evaluates expressions.
#[derive(Debug)]
pub struct Templates(Environment<'static>);

impl Default for Templates {
    fn default() -> Self {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap_or_default());
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("index", index);
        environment.add_filter("regex_replace", regex_replace);
        Self(environment)
    }
}

/// A row as templates see it.
pub fn columns(row: &Row) -> Value {
    Value::from(Serde(row))
}

impl Templates {
    /// The text of a template.
    ///
    /// # Errors
    /// What the template lacks or does wrong, in one sentence.
    pub fn text(&self, template: &str, columns: &Value) -> Result<String, String> {
        self.0.render_str(template, columns).map_err(|error| told(&error))
    }

    /// The value of an expression.
    ///
    /// # Errors
    /// As [`Templates::text`]; also where it has no value.
    pub fn value(&self, expression: &str, columns: &Value) -> Result<Value, String> {
        let value = self.0.compile_expression(expression).and_then(|compiled| compiled.eval(columns)).map_err(|error| told(&error))?;
        if value.is_undefined() { Err(format!("`{expression}` has no value here")) } else { Ok(value) }
    }

    /// The texts of a list that an expression gives.
    ///
    /// # Errors
    /// As [`Templates::value`]; also where it is no list.
    pub fn texts(&self, expression: &str, columns: &Value) -> Result<Vec<String>, String> {
        let value = self.value(expression, columns)?;
        if value.kind() != minijinja::value::ValueKind::Seq {
            return Err(format!("`{expression}` is a {}; expected a list", value.kind()));
        }
        Ok(value.try_iter().map_err(|error| told(&error))?.map(|entry| entry.to_string()).collect())
    }
}

/// Place of a value in a list, from 0.
fn index(list: &Value, value: &Value) -> Result<usize, Error> {
    let place = list.try_iter()?.position(|entry| entry == *value);
    place.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("{value} is not in the list")))
}

/// `re.sub`; groups in the replacement are written `$1` or `${1}`.
fn regex_replace(text: &str, pattern: &str, replacement: &str, rest: Rest<Value>) -> Result<String, Error> {
    if !rest.is_empty() {
        return Err(Error::new(ErrorKind::TooManyArguments, "regex_replace takes a pattern and a replacement"));
    }
    let pattern = Regex::new(pattern).map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))?;
    Ok(pattern.replace_all(text, replacement).into_owned())
}

fn told(error: &Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row() -> Value {
        columns(
            json!({ "q": " Why? ", "choices": { "text": ["a", "b"], "label": ["A", "B"] }, "answer": "B" }).as_object().expect("an object"),
        )
    }

    #[test]
    fn texts_and_values_of_a_row() {
        let templates = Templates::default();
        assert_eq!(templates.text("{{ q.strip() }}\n", &row()).as_deref(), Ok("Why?\n"));
        assert_eq!(templates.value("choices.label | index(answer)", &row()), Ok(Value::from(1)));
        assert_eq!(templates.texts("choices.text if choices is mapping else choices", &row()), Ok(vec!["a".into(), "b".into()]));
        assert_eq!(templates.text("{{ 'a1 b2' | regex_replace('([a-z])[0-9]', '<$1>') }}", &row()).as_deref(), Ok("<a> <b>"));
    }

    #[test]
    fn what_is_missing_is_said() {
        let templates = Templates::default();
        let whys = [
            templates.text("{{ nothing }}", &row()).expect_err("no column"),
            templates.value("nothing", &row()).expect_err("no column").clone(),
            templates.value("choices.label | index('C')", &row()).expect_err("no entry").clone(),
            templates.texts("answer", &row()).expect_err("no list").clone(),
        ];
        assert!(
            whys[0].contains("undefined") && whys[2].contains("C is not in the list") && whys[3].contains("expected a list"),
            "{whys:?}"
        );
    }
}
