//! One task from its files to its figures.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::asking::{Asked, Asking};
use super::item::{Item, Maker};
use super::ledger::{Kept, Ledger};
use super::metric::{Figure, figure, part};
use super::rows;
use super::task::{Metric, Task};
use crate::common::{Interrupted, check_interrupt, progress};

/// What is asked of a task beside what it says itself.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Examples, in place of the task's own number.
    pub shots: Option<usize>,
    /// Rows of another file of the same form.
    pub data: Option<String>,
    /// The first rows only, for a test.
    pub limit: Option<usize>,
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    /// Figures by metric.
    pub figures: BTreeMap<String, Figure>,
    /// The same by group.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, BTreeMap<String, Figure>>,
    /// Rows measured.
    pub n: usize,
    /// Examples before each.
    pub shots: usize,
    /// Rows that were longer than the model's context and lost their beginning.
    pub truncated: usize,
    /// Rows that could not be measured.
    pub failed: Vec<Failure>,
    /// Whether only some rows were asked for: no figure to publish.
    pub testing_only: bool,
}

/// A row that could not be measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The row, from 0.
    pub row: usize,
    /// Why.
    pub error: String,
}

/// A measured row, for the log of samples.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The item.
    pub item: Item,
    /// What the model made of it.
    pub kept: Kept,
}

/// The rows of a task as items.
struct Items {
    items: Vec<Item>,
    failed: Vec<Failure>,
    shots: usize,
}

/// Evaluates a task, reading what `folder` has and taking from `ledger` what is done.
///
/// # Errors
/// When rows or examples cannot be read, no row can be worded, the model fails, or the user interrupts.
pub fn run(asking: &Asking, task: &Task, wish: &Wish, folder: &Path, ledger: &mut Ledger) -> Result<(TaskResult, Vec<Sample>)> {
    let Items { items, mut failed, shots } = items(task, wish, folder)?;
    let key = serde_json::to_string(&(task, shots, &wish.data))?;
    let (mut samples, mut open) = (Vec::new(), Vec::new());
    for item in &items {
        match ledger.kept(&key, item.row) {
            Some(kept) => samples.push(Sample { item: item.clone(), kept: kept.clone() }),
            None => open.push(item),
        }
    }
    let bar = progress(items.len() as u64, &task.name);
    bar.inc(samples.len() as u64);
    for block in blocks(&open) {
        asking.ask(&task.ask, &block, |asked| {
            bar.inc(asked.len() as u64);
            let (kept, bad) = sorted(asked, &block);
            failed.extend(bad);
            samples.extend(kept.iter().map(|(item, kept)| Sample { item: (*item).clone(), kept: kept.clone() }));
            ledger.keep(&key, kept.into_iter().map(|(_, kept)| kept).collect())?;
            check_interrupt().map_err(|_| Interrupted::Kept.into())
        })?;
    }
    bar.finish_and_clear();
    samples.sort_by_key(|sample| sample.item.row);
    failed.sort_by_key(|failure| failure.row);
    Ok((result(task, &samples, failed, shots, wish), samples))
}

fn items(task: &Task, wish: &Wish, folder: &Path) -> Result<Items> {
    let named = wish.data.clone().map_or_else(|| task.data.clone(), |data| vec![data]);
    let rows = rows::read(&rows::find(folder, &named)?)?;
    let shots = wish.shots.or(task.examples.as_ref().map(|examples| examples.shots)).unwrap_or(0);
    let examples = match &task.examples {
        Some(examples) if shots > 0 => rows::read(&rows::find(folder, &examples.data)?)?,
        None if shots > 0 => bail!("task {} has no examples to show", task.name),
        _ => Vec::new(),
    };
    let maker = Maker::new(task, &examples, shots)?;
    let (mut items, mut failed) = (Vec::new(), Vec::new());
    for (place, row) in rows.iter().enumerate().take(wish.limit.unwrap_or(usize::MAX)) {
        match maker.item(place, row) {
            Ok(item) => items.extend(item),
            Err(error) => failed.push(Failure { row: place, error: format!("{error:#}") }),
        }
    }
    match failed.first() {
        Some(first) if items.is_empty() => {
            bail!("task {}: no row can be asked about; the first, row {}: {}", task.name, first.row, first.error)
        }
        _ if items.is_empty() => bail!("task {}: no row is left", task.name),
        _ => Ok(Items { items, failed, shots }),
    }
}

/// Items of one group together: they share description and examples.
fn blocks<'a>(items: &[&'a Item]) -> Vec<Vec<&'a Item>> {
    let mut blocks = BTreeMap::<Option<&str>, Vec<&Item>>::new();
    items.iter().for_each(|item| blocks.entry(item.group.as_deref()).or_default().push(item));
    blocks.into_values().collect()
}

fn sorted<'a>(asked: Vec<Asked>, block: &[&'a Item]) -> (Vec<(&'a Item, Kept)>, Vec<Failure>) {
    let (mut kept, mut failed) = (Vec::new(), Vec::new());
    for Asked { item, outcome, cut } in asked {
        let item = block[item];
        match outcome {
            Ok(outcome) => kept.push((item, Kept { row: item.row, outcome, cut })),
            Err(error) => failed.push(Failure { row: item.row, error }),
        }
    }
    (kept, failed)
}

fn result(task: &Task, samples: &[Sample], failed: Vec<Failure>, shots: usize, wish: &Wish) -> TaskResult {
    let mut by_group = BTreeMap::<&str, Vec<&Sample>>::new();
    samples
        .iter()
        .filter_map(|sample| Some((sample.item.group.as_deref()?, sample)))
        .for_each(|(group, sample)| by_group.entry(group).or_default().push(sample));
    TaskResult {
        figures: figures(&task.metrics, &samples.iter().collect::<Vec<_>>()),
        groups: by_group.into_iter().map(|(group, samples)| (group.to_owned(), figures(&task.metrics, &samples))).collect(),
        n: samples.len(),
        shots,
        truncated: samples.iter().filter(|sample| sample.kept.cut > 0).count(),
        failed,
        testing_only: wish.limit.is_some(),
    }
}

fn figures(metrics: &[Metric], samples: &[&Sample]) -> BTreeMap<String, Figure> {
    let of = |&metric: &Metric| {
        let parts: Vec<(f64, f64)> =
            samples.iter().filter_map(|sample| part(metric, &sample.item.question, &sample.kept.outcome)).collect();
        Some((metric.name().to_owned(), figure(metric, &parts)?))
    };
    metrics.iter().filter_map(of).collect()
}
