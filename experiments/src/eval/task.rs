//! A task as data: which rows, how a row becomes a prompt, what is asked of the model, and what is measured.
//!
//! `context` and the other texts are Jinja templates over the columns of a row; `choices`, `target` and the like are Jinja expressions, whose
//! values are lists, numbers or texts. Conventions (delimiters, the order of examples, what a metric is) are those of lm-eval 0.4.13.

use serde::{Deserialize, Serialize};

use super::metric::Metric;

/// What is asked of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Which of several continuations is the most probable.
    MultipleChoice,
    /// How probable one continuation is.
    Continuation,
    /// How probable a whole document is, in windows of the context's length.
    Perplexity,
    /// What the model writes by itself, taking the most probable token throughout.
    Generation,
    /// What another model thinks of the answers of a conversation.
    Judged,
}

/// How examples are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Sampler {
    /// Anew for every item, with the draws of Python's `random.Random(seed).sample`: lm-eval's default.
    #[default]
    Random,
    /// The first ones, the same for every item: their block is computed once.
    FirstN,
}

/// A task file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// One sentence, with the source.
    pub about: String,
    /// What is asked.
    pub kind: Kind,
    /// What is measured, the headline figure first.
    pub metrics: Vec<Metric>,
    /// Examples before every item.
    #[serde(default)]
    pub shots: usize,
    /// Where the rows are.
    pub data: Data,
    /// How a row becomes a prompt.
    pub prompt: Prompt,
    /// Where examples come from, and how they are chosen.
    #[serde(default)]
    pub examples: Examples,
    /// What is done to a generated answer before it is compared; each filter has figures of its own.
    #[serde(default)]
    pub filters: Vec<Filter>,
    /// How answers are compared.
    #[serde(default)]
    pub compare: Compare,
    /// Groups of groups with figures of their own, such as MMLU's four areas.
    #[serde(default)]
    pub areas: std::collections::BTreeMap<String, Vec<String>>,
}

/// Where the rows are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// File of the items under the data folder, without what tells its format.
    pub items: String,
    /// Columns that must be there; `a|b` asks for one of them.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Expression that is true of the rows that count.
    pub only: Option<String>,
    /// Column whose values part the rows into groups with figures of their own; examples are of the item's group.
    pub group_by: Option<String>,
    /// In a plain text, a regular expression for the first line of a document; without it the text is one document.
    pub document: Option<String>,
}

/// How a row becomes a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// Before everything, with the blank lines that end it.
    #[serde(default)]
    pub description: String,
    /// What stands before the answer.
    #[serde(default)]
    pub context: String,
    /// Expression: a context for each choice, where the choices differ in the context and share what follows (partial evaluation).
    pub contexts: Option<String>,
    /// Expression: the choices.
    pub choices: Option<String>,
    /// Expression: the number of the right choice from 0, the labels of all choices for `mc2`, the continuation, the document, or the right
    /// answer (a text, or a list of them).
    pub target: Option<String>,
    /// Expression: what follows every one of `contexts`.
    pub continuation: Option<String>,
    /// Between context and answer.
    #[serde(default = "space")]
    pub delimiter: String,
    /// After every example.
    #[serde(default = "blank_line")]
    pub example_delimiter: String,
    /// Templates: texts that end a generated answer.
    #[serde(default)]
    pub until: Vec<String>,
    /// Longest generated answer, in tokens.
    #[serde(default = "answer_tokens")]
    pub max_new_tokens: usize,
    /// Template: the document whose words and bytes are counted, where it is not the one that is scored.
    pub counted: Option<String>,
    /// Expression: the user's turns of a conversation.
    pub turns: Option<String>,
    /// Templates of the judge, one for each turn.
    #[serde(default)]
    pub judge: Vec<String>,
}

/// Where examples come from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Examples {
    /// File of the examples under the data folder, without what tells its format.
    pub items: Option<String>,
    /// How they are chosen.
    #[serde(default)]
    pub sampler: Sampler,
    /// Draw one more, in case the item itself is among them. (lm-eval does so where a task has neither a test split nor a few-shot split.)
    #[serde(default)]
    pub spare: bool,
    /// Template of an example's context, where it differs from the item's.
    pub context: Option<String>,
}

/// What is done to a generated answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Its name in the results.
    pub name: String,
    /// Regular expression whose first group that matches is the answer; `[invalid]` where nothing does. Without it white space is trimmed.
    pub regex: Option<String>,
    /// Take the last match instead of the first.
    #[serde(default)]
    pub last: bool,
}

/// How answers are compared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// Regular expressions whose matches are left out of both.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Compare in lower case.
    #[serde(default)]
    pub ignore_case: bool,
    /// Leave ASCII punctuation out.
    #[serde(default)]
    pub ignore_punctuation: bool,
}

fn space() -> String {
    " ".to_owned()
}

fn blank_line() -> String {
    "\n\n".to_owned()
}

fn answer_tokens() -> usize {
    256
}

impl Task {
    /// Refuses what contradicts itself.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        let (kind, prompt) = (self.kind, &self.prompt);
        if let Some(metric) = self.metrics.iter().find(|metric| !metric.kinds().contains(&kind)) {
            return Err(format!("`metrics` has {}, which a task of this kind does not give", metric.name()));
        }
        let choices = prompt.choices.is_some() || (prompt.contexts.is_some() && prompt.continuation.is_some());
        let judge = prompt.turns.is_some() && !prompt.judge.is_empty();
        match kind {
            _ if self.metrics.is_empty() => Err("`metrics` is empty".into()),
            Kind::MultipleChoice if !choices => Err("a multiple_choice task needs `choices`, or `contexts` and `continuation`".into()),
            Kind::Judged if !judge => Err("a judged task needs `turns` and `judge`".into()),
            Kind::Judged | Kind::Perplexity if self.shots > 0 => Err("`shots` means nothing in a task of this kind".into()),
            _ if kind != Kind::Judged && prompt.target.is_none() => Err("`target` is missing".into()),
            _ if self.shots > 0 && self.examples.items.is_none() => Err("`shots` is set, but `examples.items` is not".into()),
            _ => Ok(()),
        }
    }
}
