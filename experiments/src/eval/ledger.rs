//! What is done already: outcomes of items, kept beside the output as they come, so that an interrupted evaluation goes on at the item.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::metric::Outcome;
use crate::journal::Journal;
use crate::output;

/// An item's outcome as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The row.
    pub row: usize,
    /// What the model made of it.
    pub outcome: Outcome,
    /// Tokens cut off from its beginning.
    pub cut: usize,
}

/// Outcomes by task and row, in a journal.
#[derive(Debug)]
pub struct Ledger {
    journal: Journal,
    done: HashMap<String, HashMap<usize, Kept>>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    task: String,
    items: Vec<Kept>,
}

impl Ledger {
    /// Opens the ledger of an output. `settings` is everything outcomes depend on beside the task: of another evaluation nothing is taken.
    ///
    /// # Errors
    /// When the journal cannot be written, or another process has it open.
    pub fn open(output: &Path, settings: &Value) -> Result<Self> {
        let mut journal = Journal::open(output)?;
        let lines = journal.recover()?;
        let mut ledger = Self { journal, done: HashMap::new() };
        match lines.first() {
            Some((_, first)) if first == settings => ledger.take(lines.into_iter().skip(1).map(|(_, line)| line)),
            Some(_) => {
                output::say("an interrupted evaluation with other settings is forgotten");
                ledger.begin(settings)?;
            }
            None => ledger.begin(settings)?,
        }
        Ok(ledger)
    }

    fn begin(&mut self, settings: &Value) -> Result<()> {
        self.journal.cut(0)?;
        self.journal.append(settings).map(drop)
    }

    fn take(&mut self, lines: impl Iterator<Item = Value>) {
        for line in lines.filter_map(|line| serde_json::from_value::<Line>(line).ok()) {
            self.done.entry(line.task).or_default().extend(line.items.into_iter().map(|kept| (kept.row, kept)));
        }
    }

    /// What is kept of a row; `task` names the task and everything its outcomes depend on.
    pub fn kept(&self, task: &str, row: usize) -> Option<&Kept> {
        self.done.get(task)?.get(&row)
    }

    /// Keeps outcomes; when this returns, not even a crash loses them.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn keep(&mut self, task: &str, items: Vec<Kept>) -> Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        self.journal.append(&json!({ "task": task, "items": items }))?;
        self.done.entry(task.to_owned()).or_default().extend(items.into_iter().map(|kept| (kept.row, kept)));
        Ok(())
    }

    /// Removes the journal: the output is whole.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn close(self) -> Result<()> {
        self.journal.remove()
    }
}
