//! Rows to prompts: description, examples, and the item without its answer, joined as lm-eval joins them (`lm_eval/api/task.py`).

use minijinja::Value;

use super::data::Row;
use super::task::{Kind, Task};
use super::template::{Templates, columns};

/// What a model is asked about one item.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// Each choice as context and continuation; the right ones; lengths of the choices in characters.
    Choices {
        /// Context and continuation, delimiter included.
        pairs: Vec<(String, String)>,
        /// Whether each choice is right.
        right: Vec<bool>,
        /// Characters of each choice alone.
        lengths: Vec<usize>,
    },
    /// A context and what is to follow it.
    Continuation(String, String),
    /// A document, and the one whose words and bytes are counted.
    Document {
        /// What is scored.
        text: String,
        /// What is counted.
        counted: String,
    },
    /// A context to be continued until one of some texts comes.
    Generation {
        /// What the model is told.
        context: String,
        /// What ends the answer.
        until: Vec<String>,
        /// Right answers.
        answers: Vec<String>,
    },
}

/// Makes the prompts of a task.
#[derive(Debug)]
pub struct Prompter<'a> {
    /// The task.
    pub task: &'a Task,
    /// Renders its templates.
    pub templates: &'a Templates,
}

impl Prompter<'_> {
    /// What is asked about a row after the text `before` (description and examples).
    ///
    /// # Errors
    /// One sentence: which part of the prompt cannot be made, and why.
    pub fn question(&self, row: &Row, before: &str) -> Result<Question, String> {
        let columns = columns(row);
        match self.task.kind {
            Kind::MultipleChoice => self.choices(&columns, before),
            Kind::Continuation => Ok(Question::Continuation(
                self.context(&columns, before)?,
                format!("{}{}", self.task.prompt.delimiter, self.answer(&columns)?),
            )),
            Kind::Perplexity => self.document(&columns),
            Kind::Generation => self.generation(&columns, before),
            Kind::Judged => Err("a judged task has conversations, no prompts".into()),
        }
    }

    /// The description for a row, with the examples it gets.
    ///
    /// # Errors
    /// As [`Prompter::question`].
    pub fn before(&self, row: &Row, examples: &[&Row]) -> Result<String, String> {
        let mut text = part("description", self.templates.text(&self.task.prompt.description, &columns(row)))?;
        for example in examples {
            text.push_str(&self.example(example)?);
        }
        Ok(text)
    }

    /// A row with its answer.
    fn example(&self, row: &Row) -> Result<String, String> {
        let (columns, prompt) = (columns(row), &self.task.prompt);
        let answer = self.answer(&columns)?;
        let context = match (&prompt.contexts, &self.task.examples.context) {
            (Some(contexts), _) => self.right_context(contexts, &columns)?,
            (None, own) => part("context", self.templates.text(own.as_ref().unwrap_or(&prompt.context), &columns))?,
        };
        Ok(format!("{context}{}{answer}{}", prompt.delimiter, prompt.example_delimiter))
    }

    fn right_context(&self, contexts: &str, columns: &Value) -> Result<String, String> {
        let contexts = part("contexts", self.templates.texts(contexts, columns))?;
        let right = self.place(columns, contexts.len())?;
        Ok(contexts.into_iter().nth(right).unwrap_or_default())
    }

    fn context(&self, columns: &Value, before: &str) -> Result<String, String> {
        Ok(format!("{before}{}", part("context", self.templates.text(&self.task.prompt.context, columns))?))
    }

    /// The answer as it stands in an example: the right choice, or the (first) target.
    fn answer(&self, columns: &Value) -> Result<String, String> {
        let prompt = &self.task.prompt;
        if let Some(continuation) = &prompt.continuation {
            return part("continuation", self.templates.value(continuation, columns)).map(|value| value.to_string());
        }
        if let Some(choices) = prompt.choices.as_ref().filter(|_| self.task.kind == Kind::MultipleChoice) {
            let choices = part("choices", self.templates.texts(choices, columns))?;
            let right = self.right(columns, choices.len())?.iter().position(|&right| right).unwrap_or_default();
            return Ok(choices.into_iter().nth(right).unwrap_or_default());
        }
        self.answers(columns)?.into_iter().next().ok_or_else(|| "`target` is an empty list".into())
    }

    fn answers(&self, columns: &Value) -> Result<Vec<String>, String> {
        let target = self.target(columns)?;
        if target.kind() != minijinja::value::ValueKind::Seq {
            return Ok(vec![target.to_string()]);
        }
        let entries = target.try_iter().map_err(|error| format!("`target`: {error}"))?;
        Ok(entries.map(|entry| entry.to_string()).collect())
    }

    fn target(&self, columns: &Value) -> Result<Value, String> {
        part("target", self.templates.value(self.task.prompt.target.as_deref().unwrap_or("none"), columns))
    }

    /// The number of the right one among `count`.
    fn place(&self, columns: &Value, count: usize) -> Result<usize, String> {
        let target = self.target(columns)?;
        let place = usize::try_from(target.clone()).ok().or_else(|| target.to_string().trim().parse().ok());
        let place = place.ok_or_else(|| format!("`target` is {target}; expected the number of a choice"))?;
        if place < count { Ok(place) } else { Err(format!("`target` is {place}, but there are {count} choices")) }
    }

    /// Whether each of `count` choices is right: one by its number, or all by a list of labels.
    fn right(&self, columns: &Value, count: usize) -> Result<Vec<bool>, String> {
        let target = self.target(columns)?;
        if target.kind() != minijinja::value::ValueKind::Seq {
            let place = self.place(columns, count)?;
            return Ok((0..count).map(|choice| choice == place).collect());
        }
        let labels: Vec<bool> = target.try_iter().map_err(|error| format!("`target`: {error}"))?.map(|label| label.is_true()).collect();
        if labels.len() != count {
            return Err(format!("`target` has {} labels, but there are {count} choices", labels.len()));
        }
        Ok(labels)
    }

    fn choices(&self, columns: &Value, before: &str) -> Result<Question, String> {
        let prompt = &self.task.prompt;
        let (pairs, choices) = match &prompt.contexts {
            Some(contexts) => {
                let contexts = part("contexts", self.templates.texts(contexts, columns))?;
                let end = format!("{}{}", prompt.delimiter, self.answer(columns)?);
                (contexts.iter().map(|context| (format!("{before}{context}"), end.clone())).collect(), contexts)
            }
            None => {
                let context = self.context(columns, before)?;
                let choices = part("choices", self.templates.texts(prompt.choices.as_deref().unwrap_or("none"), columns))?;
                (choices.iter().map(|choice| (context.clone(), format!("{}{choice}", prompt.delimiter))).collect::<Vec<_>>(), choices)
            }
        };
        if choices.is_empty() {
            return Err("there are no choices".into());
        }
        let lengths = choices.iter().map(|choice| choice.chars().count()).collect();
        Ok(Question::Choices { right: self.right(columns, choices.len())?, lengths, pairs })
    }

    fn document(&self, columns: &Value) -> Result<Question, String> {
        let text = self.target(columns)?.to_string();
        let counted = self.task.prompt.counted.as_ref().map(|counted| part("counted", self.templates.text(counted, columns)));
        let counted = counted.transpose()?.unwrap_or_else(|| text.clone());
        if text.is_empty() { Err("the document is empty".into()) } else { Ok(Question::Document { text, counted }) }
    }

    fn generation(&self, columns: &Value, before: &str) -> Result<Question, String> {
        let until = self.task.prompt.until.iter().map(|until| part("until", self.templates.text(until, columns)));
        let until = until.collect::<Result<Vec<_>, _>>()?;
        Ok(Question::Generation { context: self.context(columns, before)?, until, answers: self.answers(columns)? })
    }
}

/// Names the part of the prompt that failed.
fn part<T>(name: &str, made: Result<T, String>) -> Result<T, String> {
    made.map_err(|why| format!("`{name}`: {why}"))
}
