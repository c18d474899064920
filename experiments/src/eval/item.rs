//! Rows as questions: the text before, the texts that may follow, and which is right.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::task::{Ask, Examples, Task};
use super::template::Templates;

/// Between examples.
const SEPARATOR: &str = "\n\n";

/// A row, ready to be put to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Place of the row in its file, from 0.
    pub row: usize,
    /// Its group.
    pub group: Option<String>,
    /// What is asked.
    pub question: Question,
}

/// What is asked of a model.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// Contexts and what follows each; the most probable pair is the answer.
    Pairs {
        /// (context, continuation), delimiter included.
        pairs: Vec<(String, String)>,
        /// Characters of each choice, without delimiter.
        lengths: Vec<usize>,
        /// The right pair.
        gold: usize,
        /// Whether each pair is right.
        right: Vec<bool>,
    },
    /// A document.
    Text(String),
    /// A prompt and the right answer to it.
    Prompt {
        /// What the model goes on from.
        context: String,
        /// The right answer.
        answer: String,
    },
}

/// Makes items of a task's rows.
pub struct Maker<'a> {
    task: &'a Task,
    templates: Templates,
    /// Examples by group; of all rows under the empty name.
    examples: BTreeMap<String, String>,
}

impl<'a> Maker<'a> {
    /// Words the examples.
    ///
    /// # Errors
    /// When there are fewer examples than shots, or one cannot be worded.
    pub fn new(task: &'a Task, rows: &[Value], shots: usize) -> Result<Self> {
        let mut maker = Self { task, templates: Templates::default(), examples: BTreeMap::new() };
        let Some(examples) = task.examples.as_ref().filter(|_| shots > 0) else { return Ok(maker) };
        let mut by_group = BTreeMap::<String, Vec<&Value>>::new();
        for row in rows {
            by_group.entry(maker.group_of(examples, row)?).or_default().push(row);
        }
        for (group, rows) in by_group {
            if rows.len() < shots {
                let of = if group.is_empty() { String::new() } else { format!(" of {group}") };
                return Err(anyhow!("task {}: {} examples{of}, {shots} are wanted", task.name, rows.len()));
            }
            let told = rows[..shots].iter().map(|row| maker.example(row)).collect::<Result<Vec<_>>>();
            let told = told.with_context(|| format!("an example of task {}", task.name))?;
            maker.examples.insert(group, told.concat());
        }
        Ok(maker)
    }

    fn group_of(&self, examples: &Examples, row: &Value) -> Result<String> {
        match &self.task.group {
            Some(group) if examples.of_group => self.templates.text(group, row),
            _ => Ok(String::new()),
        }
    }

    /// One example with its answer.
    fn example(&self, row: &Value) -> Result<String> {
        let told = match (&self.task.ask, self.question(row, "")?) {
            (Ask::Generation { delimiter, .. }, Question::Prompt { context, answer }) => format!("{context}{delimiter}{answer}"),
            (_, Question::Pairs { pairs, gold, .. }) => format!("{}{}", pairs[gold].0, pairs[gold].1),
            _ => return Err(anyhow!("documents have no examples")),
        };
        Ok(told + SEPARATOR)
    }

    /// The item of a row; none where the task leaves such rows out.
    ///
    /// # Errors
    /// Says what the row lacks.
    pub fn item(&self, place: usize, row: &Value) -> Result<Option<Item>> {
        let left_out = self.task.only.as_ref().map(|only| self.templates.text(only, row)).transpose()?.is_some_and(|told| told != "true");
        if left_out {
            return Ok(None);
        }
        let group = self.task.group.as_ref().map(|group| self.templates.text(group, row)).transpose()?;
        let examples = match &self.task.examples {
            Some(examples) if !self.examples.is_empty() => {
                let of = self.group_of(examples, row)?;
                self.examples.get(&of).with_context(|| format!("there are no examples of {of}"))?.as_str()
            }
            _ => "",
        };
        let before = self.templates.text(&self.task.description, row)? + examples;
        Ok(Some(Item { row: place, group, question: self.question(row, &before)? }))
    }

    fn question(&self, row: &Value, before: &str) -> Result<Question> {
        let (text, texts) = (|t: &str| self.templates.text(t, row), |t: &str| self.templates.texts(t, row));
        match &self.task.ask {
            Ask::Choices { context, choices, gold, labels, delimiter } => {
                let (context, choices) = (format!("{before}{}", text(context)?), texts(choices)?);
                let lengths = choices.iter().map(|choice| choice.chars().count()).collect();
                let pairs: Vec<_> = choices.iter().map(|choice| (context.clone(), format!("{delimiter}{choice}"))).collect();
                let labels = labels.as_ref().map(|labels| texts(labels)).transpose()?;
                self.pairs(pairs, lengths, gold, labels, row)
            }
            Ask::Contexts { contexts, continuation, gold, delimiter } => {
                let follows = format!("{delimiter}{}", text(continuation)?);
                let pairs: Vec<_> = texts(contexts)?.into_iter().map(|context| (format!("{before}{context}"), follows.clone())).collect();
                self.pairs(pairs.clone(), vec![1; pairs.len()], gold, None, row)
            }
            Ask::Continuation { context, continuation, delimiter } => {
                let pair = (format!("{before}{}", text(context)?), format!("{delimiter}{}", text(continuation)?));
                Ok(Question::Pairs { lengths: vec![pair.1.chars().count()], pairs: vec![pair], gold: 0, right: vec![true] })
            }
            Ask::Text { text: document } => Ok(Question::Text(text(document)?)),
            Ask::Generation { context, answer, .. } => {
                Ok(Question::Prompt { context: format!("{before}{}", text(context)?), answer: text(answer)? })
            }
        }
    }

    fn pairs(
        &self,
        pairs: Vec<(String, String)>,
        lengths: Vec<usize>,
        gold: &str,
        labels: Option<Vec<String>>,
        row: &Value,
    ) -> Result<Question> {
        let gold = self.templates.number(gold, row)?;
        if gold >= pairs.len() || labels.as_ref().is_some_and(|labels| labels.len() != pairs.len()) {
            return Err(anyhow!("the right choice is number {gold} of {}, from 0, with {labels:?} as labels", pairs.len()));
        }
        let right = labels
            .map_or_else(|| (0..pairs.len()).map(|place| place == gold).collect(), |labels| labels.iter().map(|l| l == "1").collect());
        Ok(Question::Pairs { pairs, lengths, gold, right })
    }
}
