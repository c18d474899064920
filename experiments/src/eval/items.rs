//! The items of a task and the examples before each: rows that have the columns, in their groups, in the order of the file.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::data::{self, Row};
use super::prompt::{Prompter, Question};
use super::python_random::PythonRandom;
use super::task::{Kind, Sampler, Task};
use super::template::{Templates, columns};

/// One item.
#[derive(Debug)]
pub struct Item {
    /// Its name in logs: the row's `id`, else its number among the task's rows from 0.
    pub id: String,
    /// The group it is in; empty where the task has none.
    pub group: String,
    /// What precedes the item's own part of the prompt (description and examples); items with the same share its computation.
    pub before: String,
    /// Its row.
    pub row: Row,
    /// What is asked, or why nothing can be.
    pub question: Result<Question, String>,
}

/// How a task is run: what its file leaves open, and what the user asks otherwise.
#[derive(Debug, Clone)]
pub struct Choices {
    /// Examples before every item, where not the task's number.
    pub shots: Option<usize>,
    /// How they are chosen, where not the task's way.
    pub sampler: Option<Sampler>,
    /// Seed of the draws.
    pub seed: u64,
    /// Items of each group, from the first.
    pub limit: Option<usize>,
}

/// Rows by group, groups in the order in which they come; a bad row is in the group it seems to be of.
type Groups = Vec<(String, Vec<Result<Row, String>>)>;

/// All items of a task, group by group.
///
/// # Errors
/// When a file is absent or broken, or there are not as many examples as asked for: a sentence for the task as a whole.
pub fn items(task: &Task, folder: &Path, choices: &Choices) -> Result<Vec<Item>, String> {
    let templates = Templates::default();
    let maker = Maker { task, templates: &templates, choices, pool: pool(task, folder, choices, &templates)? };
    let mut all: Vec<Item> = Vec::new();
    for (group, rows) in grouped(task, rows(task, folder, &task.data.items, &templates)?) {
        all.extend(maker.of_group(&group, rows)?);
    }
    match common_fault(&all) {
        _ if all.is_empty() => Err(format!("{} holds no row that counts", task.data.items)),
        Some(why) => Err(format!("{}: {why}", task.data.items)),
        None => Ok(all),
    }
}

/// What is wrong with every item alike, which is told once: a column that the whole file lacks.
fn common_fault(items: &[Item]) -> Option<&str> {
    let fault = |item: &Item| item.question.as_ref().err().filter(|why| !why.is_empty()).cloned();
    let first = items.first()?.question.as_ref().err()?;
    items.iter().all(|item| fault(item).as_ref() == Some(first)).then_some(first)
}

fn rows(task: &Task, folder: &Path, name: &str, templates: &Templates) -> Result<data::Rows, String> {
    let path = data::find(folder, name).map_err(|error| error.to_string())?;
    let rows = data::read(&path, task.data.document.as_deref()).map_err(|error| error.to_string())?;
    let counts = |row: &Result<Row, String>| match (row, &task.data.only) {
        (Ok(row), Some(only)) => templates.value(only, &columns(row)).is_ok_and(|value| value.is_true()),
        _ => true,
    };
    Ok(rows.into_iter().filter(counts).collect())
}

/// Refuses a row that lacks a column, or the file where every row does.
fn missing(task: &Task, row: &Row) -> Option<String> {
    let there = |asked: &&String| asked.split('|').any(|name| row.contains_key(name));
    let absent = task.data.columns.iter().find(|asked| !there(asked))?;
    let has: Vec<&str> = row.keys().map(String::as_str).collect();
    Some(format!("no column `{}`; there are {}", absent.replace('|', "` or `"), has.join(", ")))
}

fn grouped(task: &Task, rows: data::Rows) -> Groups {
    let mut groups: Groups = Vec::new();
    let mut places = BTreeMap::new();
    for row in rows {
        let group = row.as_ref().map_or_else(|_| String::new(), |row| group_of(task, row));
        let place = *places.entry(group.clone()).or_insert_with(|| {
            groups.push((group, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(row);
    }
    groups
}

fn group_of(task: &Task, row: &Row) -> String {
    task.data.group_by.as_ref().and_then(|column| row.get(column)).map(text_of).unwrap_or_default()
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The rows that examples are taken from, by group; empty where there are no examples.
fn pool(task: &Task, folder: &Path, choices: &Choices, templates: &Templates) -> Result<BTreeMap<String, Vec<Row>>, String> {
    let mut pool: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    if choices.shots.unwrap_or(task.shots) == 0 {
        return Ok(pool);
    }
    let name = task.examples.items.as_deref().ok_or("this task has no file of examples; --shots 0 does without")?;
    for row in rows(task, folder, name, templates)? {
        let row = row.map_err(|why| format!("{name}: {why}"))?;
        pool.entry(group_of(task, &row)).or_default().push(row);
    }
    Ok(pool)
}

struct Maker<'a> {
    task: &'a Task,
    templates: &'a Templates,
    choices: &'a Choices,
    pool: BTreeMap<String, Vec<Row>>,
}

impl Maker<'_> {
    fn of_group(&self, group: &str, rows: Vec<Result<Row, String>>) -> Result<Vec<Item>, String> {
        let nothing = Vec::new();
        let pool = self.pool.get(group).unwrap_or(&nothing);
        let mut random = PythonRandom::new(self.choices.seed);
        let limited = rows.into_iter().take(self.choices.limit.unwrap_or(usize::MAX)).enumerate();
        limited.map(|(number, row)| self.item(group, number, row, pool, &mut random)).collect()
    }

    fn item(&self, group: &str, number: usize, row: Result<Row, String>, pool: &[Row], random: &mut PythonRandom) -> Result<Item, String> {
        let (row, fault) = row.map_or_else(|why| (Row::new(), Some(why)), |row| (row, None));
        let examples = self.examples(&row, pool, random)?;
        let prompter = Prompter { task: self.task, templates: self.templates };
        let made = match fault.or_else(|| missing(self.task, &row)) {
            Some(why) => Err(why),
            None if self.task.kind == Kind::Judged => Ok((String::new(), Err(String::new()))),
            None => prompter.before(&row, &examples).map(|before| (before.clone(), prompter.question(&row, &before))),
        };
        let (before, question) = made.unwrap_or_else(|why| (String::new(), Err(why)));
        let id = row.get("id").map_or_else(|| number.to_string(), text_of);
        let id = if group.is_empty() { id } else { format!("{group}/{id}") };
        Ok(Item { id, group: group.to_owned(), before, row, question })
    }

    fn examples<'p>(&self, row: &Row, pool: &'p [Row], random: &mut PythonRandom) -> Result<Vec<&'p Row>, String> {
        let shots = self.choices.shots.unwrap_or(self.task.shots);
        let short = || format!("{shots} examples asked for, but there are {} to choose from", pool.len());
        let spare = self.task.examples.spare;
        let drawn = match self.choices.sampler.unwrap_or(self.task.examples.sampler) {
            _ if shots == 0 => Vec::new(),
            Sampler::FirstN => (0..pool.len()).collect(),
            Sampler::Random => random.sample(pool.len(), shots + usize::from(spare)).ok_or_else(short)?,
        };
        let others = drawn.into_iter().filter_map(|place| pool.get(place)).filter(|example| !spare || *example != row);
        let chosen: Vec<&Row> = others.take(shots).collect();
        if chosen.len() < shots { Err(short()) } else { Ok(chosen) }
    }
}
