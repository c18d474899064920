//! Items that are done one by one, each kept the moment it is done.
//!
//! Answers cost time and money, so none is lost: a finished item goes to a journal beside the output before the next is looked at. The output
//! itself appears whole at the end, in the order of the input, and the journal goes. What was stopped goes on with --resume, which takes finished
//! items from the journal, or from an output some of whose items had failed.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use coppice_models::fs::{AtomicFile, Existing};
use serde_json::{Value, json};

use crate::common::{Outcome, refuse_same};
use crate::journal::{Journal, Place, whole_lines};
use crate::output;

/// Where results go, and what becomes of those that are there.
#[derive(Debug, Clone, Args)]
pub(super) struct OutputArgs {
    /// Records, one JSON object a line, in the order of the input.
    #[arg(long, value_name = "R.jsonl")]
    output: PathBuf,
    /// Go on where an interrupted run stopped, or with the items that failed.
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Begin anew: replace the output if it exists, and forget an interrupted run.
    #[arg(long)]
    overwrite: bool,
    /// Print a summary as one JSON object.
    #[arg(long)]
    json: bool,
}

impl OutputArgs {
    /// Refuses to write over the input.
    pub(super) fn differs_from(&self, input: &Path) -> Result<()> {
        refuse_same(input, &self.output)
    }
}

/// What makes an item the same item in the input, the journal and the output.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The record's id.
    pub(super) id: String,
    /// Its prompt.
    pub(super) prompt: String,
    /// Its response, where the input brings one.
    pub(super) response: Option<String>,
}

/// A line of the input that is no item.
#[derive(Debug, Clone)]
pub(super) struct BadLine {
    /// Its `id`, where it could be read.
    pub(super) id: Option<Value>,
    /// What is wrong.
    pub(super) error: String,
}

/// The items of an input, and which of them are done.
#[derive(Debug)]
pub(super) struct Ledger {
    arguments: OutputArgs,
    journal: Journal,
    items: Vec<Result<Key, BadLine>>,
    done: HashMap<usize, Place>,
    failed: BTreeMap<usize, String>,
    /// Nothing of an earlier run is in the journal.
    fresh: bool,
}

impl OutputArgs {
    /// Opens the ledger. `settings` decide whether an interrupted run is the same work.
    ///
    /// # Errors
    /// When the output or a journal is there and neither flag says what becomes of it, when the journal is of other settings or in use, or cannot
    /// be written.
    pub(super) fn ledger(&self, settings: &Value, items: Vec<Result<Key, BadLine>>) -> Result<Ledger> {
        self.refuse()?;
        let journal = Journal::open(&self.output)?;
        let (done, failed) = (HashMap::new(), BTreeMap::new());
        let mut ledger = Ledger { arguments: self.clone(), journal, items, done, failed, fresh: false };
        if self.resume {
            ledger.resume(settings)?;
        } else {
            ledger.begin(settings)?;
        }
        Ok(ledger)
    }

    fn refuse(&self) -> Result<()> {
        let journal = Journal::path_of(&self.output)?;
        if self.resume || self.overwrite {
            return Ok(());
        }
        if self.output.exists() {
            bail!("{} exists; --resume tries its failed items again, --overwrite replaces it", self.output.display());
        }
        if fs::metadata(&journal).is_ok_and(|found| found.len() > 0) {
            bail!("an interrupted run has left {}; --resume goes on with it, --overwrite begins anew", journal.display());
        }
        Ok(())
    }

    fn report(&self, records: usize, failed: usize) -> Result<Outcome> {
        if self.json {
            output::json(&json!({ "records": records, "failed": failed, "output": self.output }))?;
        } else {
            output::line(format!("{} records, {failed} failed: {}", records - failed, self.output.display()))?;
        }
        Ok(if failed == 0 { Outcome::Done } else { Outcome::No })
    }
}

/// A run that has finished nothing leaves nothing.
impl Drop for Ledger {
    fn drop(&mut self) {
        if self.fresh && self.done.is_empty() && self.journal.path().exists() {
            let _ = self.journal.remove();
        }
    }
}

impl Ledger {
    /// Items that are neither finished nor failed for good.
    pub(super) fn open_items(&self) -> Vec<usize> {
        let open = |item: &usize| self.items[*item].is_ok() && !self.done.contains_key(item) && !self.failed.contains_key(item);
        (0..self.items.len()).filter(open).collect()
    }

    /// How many are finished.
    pub(super) fn finished(&self) -> usize {
        self.done.len()
    }

    /// What an item is called in messages.
    pub(super) fn name(&self, item: usize) -> &str {
        self.items.get(item).and_then(|item| item.as_ref().ok()).map_or("?", |key| key.id.as_str())
    }

    /// Keeps a finished item: when this returns, not even a crash loses it.
    pub(super) fn finish(&mut self, item: usize, line: &Value) -> Result<()> {
        let place = self.journal.append(line)?;
        self.done.insert(item, place);
        Ok(())
    }

    /// Notes that an item cannot be done; a later --resume tries it again.
    pub(super) fn fail(&mut self, item: usize, error: &str) {
        output::say(format!("{}: {error}", self.name(item)));
        self.failed.insert(item, error.to_owned());
    }

    /// Writes the output, whole, removes the journal, and says how it went.
    pub(super) fn commit(mut self) -> Result<Outcome> {
        let mut file = AtomicFile::create(&self.arguments.output, Existing::Replace)?;
        for item in 0..self.items.len() {
            let line = self.line(item)?;
            let written = file.write_all(&line).and_then(|()| file.write_all(b"\n"));
            written.with_context(|| format!("cannot write {}", self.arguments.output.display()))?;
        }
        file.commit()?;
        self.journal.remove()?;
        self.arguments.report(self.items.len(), self.items.len() - self.done.len())
    }

    fn line(&mut self, item: usize) -> Result<Vec<u8>> {
        if let Some(&place) = self.done.get(&item) {
            return self.journal.read(place);
        }
        let told = match &self.items[item] {
            Ok(key) => json!({ "id": key.id, "error": self.failed.get(&item).map_or("not done", String::as_str) }),
            Err(bad) => json!({ "id": bad.id, "error": bad.error }),
        };
        Ok(told.to_string().into_bytes())
    }

    fn begin(&mut self, settings: &Value) -> Result<()> {
        self.fresh = true;
        self.journal.cut(0)?;
        self.journal.append(&json!({ "settings": settings })).map(drop)
    }

    fn resume(&mut self, settings: &Value) -> Result<()> {
        let lines = self.journal.recover()?;
        match lines.first() {
            None => self.begin(settings)?,
            Some((_, header)) if header.get("settings") == Some(settings) => (),
            Some(_) => bail!("{} is of other options; resume with those, or --overwrite begins anew", self.journal.path().display()),
        }
        let places = self.places();
        let finished = lines.iter().skip(1).filter_map(|(place, line)| Some((item_of(&places, line)?, *place)));
        self.done.extend(finished);
        self.take_output(&places)
    }

    /// Takes over the good items of an output that is there.
    fn take_output(&mut self, places: &Places) -> Result<()> {
        let Ok(file) = File::open(&self.arguments.output) else { return Ok(()) };
        let lines = whole_lines(&file).with_context(|| format!("cannot read {}", self.arguments.output.display()))?;
        for (_, line) in lines {
            if let Some(item) = item_of(places, &line).filter(|item| !self.done.contains_key(item)) {
                self.finish(item, &line)?;
            }
        }
        Ok(())
    }

    fn places(&self) -> Places {
        let keys = self.items.iter().enumerate().filter_map(|(item, key)| Some((item, key.as_ref().ok()?)));
        keys.map(|(item, key)| (key.id.clone(), (item, key.clone()))).collect()
    }
}

/// Items by id.
type Places = HashMap<String, (usize, Key)>;

/// Which item a finished line is of; none for a line with an error, or of another input.
fn item_of(places: &Places, line: &Value) -> Option<usize> {
    let text = |field: &str| line.get(field).and_then(Value::as_str);
    let (item, key) = places.get(text("id")?)?;
    let same = text("prompt") == Some(&key.prompt) && key.response.as_deref().is_none_or(|response| text("response") == Some(response));
    (same && line.get("error").is_none()).then_some(*item)
}
