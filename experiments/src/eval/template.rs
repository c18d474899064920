//! Jinja over the columns of a row.

use anyhow::{Result, anyhow};
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value};

/// Stands after a template while it is rendered.
const END: &str = "|";
/// Steps a template may take.
const FUEL: u64 = 1_000_000;

/// Renders templates and expressions as lm-evaluation-harness does: unknown columns are errors, trailing newlines are kept, and strings and
/// lists have Python's methods.
pub struct Templates {
    environment: Environment<'static>,
}

impl Default for Templates {
    fn default() -> Self {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("index", index);
        environment.add_function("tidy", tidy);
        Self { environment }
    }
}

/// Place of a value in a list.
fn index(list: &Value, wanted: &Value) -> Result<usize, minijinja::Error> {
    let absent = || minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, format!("{wanted} is not among {list}"));
    list.try_iter()?.position(|value| value == *wanted).ok_or_else(absent)
}

/// HellaSwag's texts as lm-evaluation-harness prepares them: titles become sentences, other markers in brackets go; of a list, each text.
fn tidy(text: &Value) -> Result<Value, minijinja::Error> {
    if let Some(text) = text.as_str() {
        return Ok(Value::from(tidied(text)));
    }
    Ok(text.try_iter()?.map(|text| tidied(&text.to_string())).collect())
}

fn tidied(text: &str) -> String {
    let mut rest = text.trim().replace(" [title]", ". ");
    while let Some(open) = rest.find('[') {
        let Some(length) = rest[open..].find(']') else { break };
        rest.replace_range(open..=open + length, "");
    }
    rest.replace("  ", " ")
}

impl Templates {
    /// The text of a template for a row.
    ///
    /// # Errors
    /// Says what the template lacks.
    pub fn text(&self, template: &str, row: &serde_json::Value) -> Result<String> {
        let ended = format!("{template}{END}"); // a newline at the very end would be dropped
        let mut text = self.environment.render_str(&ended, Value::from(Serde(row))).map_err(|error| told(template, &error))?;
        text.truncate(text.len() - END.len());
        Ok(text)
    }

    /// The value of an expression for a row.
    fn value(&self, expression: &str, row: &serde_json::Value) -> Result<Value> {
        let compiled = self.environment.compile_expression(expression).map_err(|error| told(expression, &error))?;
        let value = compiled.eval(Value::from(Serde(row))).map_err(|error| told(expression, &error))?;
        if value.is_undefined() { Err(anyhow!("`{expression}` has no value: is a column missing?")) } else { Ok(value) }
    }

    /// A list of texts.
    ///
    /// # Errors
    /// Says what the expression lacks, or that it gives no list.
    pub fn texts(&self, expression: &str, row: &serde_json::Value) -> Result<Vec<String>> {
        let value = self.value(expression, row)?;
        let items = value.try_iter().map_err(|_| anyhow!("`{expression}` gives {value}; expected a list"))?;
        let texts: Vec<String> = items.map(|item| item.to_string()).collect();
        if texts.is_empty() { Err(anyhow!("`{expression}` gives an empty list")) } else { Ok(texts) }
    }

    /// A whole number, which may stand there as text.
    ///
    /// # Errors
    /// Says what the expression lacks, or that it gives no such number.
    pub fn number(&self, expression: &str, row: &serde_json::Value) -> Result<usize> {
        let value = self.value(expression, row)?;
        value.to_string().trim().parse().map_err(|_| anyhow!("`{expression}` gives {value}; expected a whole number from 0"))
    }
}

/// minijinja's reason, in one line with the template it is about.
fn told(template: &str, error: &minijinja::Error) -> anyhow::Error {
    let reason = error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    anyhow!("template `{}`: {reason}; does the row have all its columns?", template.lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_become_texts_lists_and_numbers() {
        let (templates, row) =
            (Templates::default(), json!({ "q": " Why? ", "choices": { "text": ["a", "b"], "label": ["A", "B"] }, "key": "B" }));
        assert_eq!(templates.text("Question: {{ q.strip() }}\n", &row).unwrap(), "Question: Why?\n");
        let choices = "choices.text if choices is mapping else choices";
        assert_eq!(templates.texts(choices, &row).unwrap(), ["a", "b"]);
        assert_eq!(templates.texts(choices, &json!({ "choices": ["c"] })).unwrap(), ["c"]);
        let gold = "index(choices.label, key) if key is defined else answer";
        assert_eq!(templates.number(gold, &row).unwrap(), 1);
        assert_eq!(templates.number(gold, &json!({ "answer": "3" })).unwrap(), 3);
    }

    #[test]
    fn a_column_that_is_missing_is_an_error_in_one_line() {
        let told = Templates::default().text("Q: {{ question }}\nA:", &json!({ "query": 1 })).unwrap_err().to_string();
        assert!(told.contains("`Q: {{ question }}`") && !told.contains('\n'), "{told}");
        assert!(Templates::default().texts("choices", &json!({})).is_err());
        assert!(Templates::default().number("index(['a'], 'b')", &json!({})).unwrap_err().to_string().contains("b is not among"));
    }
}
