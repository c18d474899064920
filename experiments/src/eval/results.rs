//! Marks of items to the figures of a task: over all items, by group, by area.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::items::Item;
use super::metric::Metric;
use super::metrics::{Figure, Value, figure, pooled};
use super::prompt::Question;
use super::run::{Marked, Prepared};
use super::task::Task;

/// The figures of some items, by metric.
pub type Figures = BTreeMap<String, Figure>;

/// What is told of a task.
#[derive(Debug, Serialize)]
pub struct TaskResults {
    /// What it is.
    pub about: String,
    /// Examples before every item, and how they were chosen.
    pub shots: usize,
    /// How examples were chosen; none where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampler: Option<super::task::Sampler>,
    /// Items that count.
    pub items: usize,
    /// Items that could not be asked or answered.
    pub failed: usize,
    /// Items whose prompt was cut on the left because it exceeds the model's context.
    pub truncated: usize,
    /// The metric that the task is usually judged by.
    pub headline: String,
    /// The figures.
    pub metrics: Figures,
    /// The figures of every area, where the task has areas.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub areas: BTreeMap<String, Figures>,
    /// The figures of every group, where the task has groups.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, Figures>,
    /// The items that failed, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Json>,
    /// How long it took.
    pub seconds: f64,
}

/// Marks by metric.
type Columns = BTreeMap<String, (Metric, Vec<Value>)>;

/// The figures of a task.
pub fn summarise(prepared: &Prepared, marked: &[Marked], shots: usize, sampler: super::task::Sampler, seconds: f64) -> TaskResults {
    let by_group = columns(prepared, marked);
    let (groups, areas) = (by_group.iter().map(|(group, columns)| (group.clone(), figures(columns))), areas(&prepared.task, &by_group));
    let groups = if prepared.task.data.group_by.is_some() { groups.collect() } else { BTreeMap::new() };
    let errors = prepared.items.iter().zip(marked).filter_map(|(item, marked)| Some(failure(item, marked.outcome.as_ref().err()?)));
    let errors: Vec<Json> = errors.collect();
    TaskResults {
        about: prepared.task.about.clone(),
        shots,
        sampler: (shots > 0).then_some(sampler),
        items: marked.len() - errors.len(),
        failed: errors.len(),
        truncated: marked.iter().filter(|marked| marked.cut > 0).count(),
        headline: headline(prepared, &by_group),
        metrics: over(by_group.values()),
        areas,
        groups,
        errors,
        seconds,
    }
}

/// The metric named first in the task, under the first filter.
fn headline(prepared: &Prepared, by_group: &BTreeMap<String, Columns>) -> String {
    let first = prepared.task.metrics.first().map_or("", |metric| metric.name());
    let filter = prepared.task.filters.first().map(|filter| format!("{first},{}", filter.name));
    let known = |name: &String| by_group.values().any(|columns| columns.contains_key(name));
    filter.filter(known).unwrap_or_else(|| first.to_owned())
}

fn failure(item: &Item, why: &str) -> Json {
    json!({ "id": item.id, "error": why })
}

fn columns(prepared: &Prepared, marked: &[Marked]) -> BTreeMap<String, Columns> {
    let mut groups: BTreeMap<String, Columns> = BTreeMap::new();
    for (item, marked) in prepared.items.iter().zip(marked) {
        let Ok((_, marks)) = &marked.outcome else { continue };
        let group = groups.entry(item.group.clone()).or_default();
        for (name, metric, value) in marks {
            group.entry(name.clone()).or_insert_with(|| (*metric, Vec::new())).1.push(*value);
        }
    }
    groups
}

fn figures(columns: &Columns) -> Figures {
    columns.iter().filter_map(|(name, (metric, values))| Some((name.clone(), figure(*metric, values)?))).collect()
}

/// The figures over several groups: all their items alike, and for more than one group the pooled error that lm-eval gives.
fn over<'a>(groups: impl Iterator<Item = &'a Columns>) -> Figures {
    let mut all = Columns::new();
    let mut errors: BTreeMap<String, Vec<(Option<f64>, usize)>> = BTreeMap::new();
    for columns in groups {
        for (name, (metric, values)) in columns {
            all.entry(name.clone()).or_insert_with(|| (*metric, Vec::new())).1.extend(values);
            let error = figure(*metric, values).and_then(|figure| figure.stderr);
            errors.entry(name.clone()).or_default().push((error, values.len()));
        }
    }
    let mut figures = figures(&all);
    for (name, figure) in &mut figures {
        let parts = errors.get(name).filter(|parts| parts.len() > 1 && figure.stderr.is_some());
        figure.stderr = parts.map_or(figure.stderr, |parts| pooled(parts));
    }
    figures
}

fn areas(task: &Task, by_group: &BTreeMap<String, Columns>) -> BTreeMap<String, Figures> {
    let of = |names: &Vec<String>| over(names.iter().filter_map(|name| by_group.get(name)));
    let all = task.areas.iter().map(|(area, names)| (area.clone(), of(names)));
    all.filter(|(_, figures)| !figures.is_empty()).collect()
}

/// A line of the log for an item.
pub fn sample(prepared: &Prepared, item: &Item, marked: &Marked) -> Json {
    let (answer, marks) = match &marked.outcome {
        Ok(done) => done,
        Err(why) => return json!({ "task": prepared.name, "id": item.id, "error": why }),
    };
    let marks: serde_json::Map<String, Json> = marks.iter().map(|(name, _, value)| (name.clone(), mark(value))).collect();
    let mut line = json!({ "task": prepared.name, "id": item.id, "row": item.row, "marks": marks, "truncated": marked.cut });
    if let Json::Object(line) = &mut line {
        line.extend(asked(item.question.as_ref().ok()));
        line.extend(answered(answer));
    }
    line
}

/// A value, or value and weight where items do not count alike.
fn mark(value: &Value) -> Json {
    if value.weight == 1.0 { json!(value.value) } else { json!([value.value, value.weight]) }
}

fn asked(question: Option<&Question>) -> serde_json::Map<String, Json> {
    let told = match question {
        Some(Question::Choices { pairs, right, .. }) => json!({ "arguments": pairs, "right": right }),
        Some(Question::Continuation(context, continuation)) => json!({ "arguments": [[context, continuation]] }),
        Some(Question::Generation { context, until, answers }) => json!({ "prompt": context, "until": until, "answers": answers }),
        Some(Question::Document { .. }) | None => json!({}),
    };
    object(told)
}

fn answered(answer: &super::cache::Answer) -> serde_json::Map<String, Json> {
    let mut told = object(serde_json::to_value(answer).unwrap_or_default());
    if !answer.scores.is_empty() {
        told.remove("scores");
        let (logprobs, greedy): (Vec<f64>, Vec<bool>) = answer.scores.iter().copied().unzip();
        told.extend(object(json!({ "logprobs": logprobs, "greedy": greedy })));
    }
    told
}

fn object(value: Json) -> serde_json::Map<String, Json> {
    if let Json::Object(object) = value { object } else { serde_json::Map::new() }
}
