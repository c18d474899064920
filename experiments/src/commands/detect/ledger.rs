//! Items that are done one by one, each kept the moment it is done.
//!
//! Answers cost time and money, so none is lost: a finished item is appended to a journal beside the output, durably, before the next is looked
//! at. The output itself appears whole at the end, in the order of the input, and the journal goes. What was stopped goes on with --resume, which
//! takes finished items from the journal, or from an output some of whose items had failed.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use coppice_models::fs::{AtomicFile, Existing, sync_dir};
use serde_json::{Value, json};

/// Where results go, and what becomes of those that are there.
#[derive(Debug, Clone, Args)]
pub(super) struct OutputArgs {
    /// Records, one JSON object a line, in the order of the input.
    #[arg(long, value_name = "R.jsonl")]
    pub(super) output: PathBuf,
    /// Go on where an interrupted run stopped, or with the items that failed.
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Begin anew: replace the output if it exists, and forget an interrupted run.
    #[arg(long)]
    overwrite: bool,
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
    output: PathBuf,
    path: PathBuf,
    journal: File,
    items: Vec<Result<Key, BadLine>>,
    /// Place of a finished item's line in the journal: start and length, bytes.
    done: HashMap<usize, (u64, usize)>,
    failed: BTreeMap<usize, String>,
    end: u64,
    /// Nothing of an earlier run is in it.
    fresh: bool,
}

impl OutputArgs {
    /// Opens the ledger. `settings` decide whether an interrupted run is the same work.
    ///
    /// # Errors
    /// When the output or a journal is there and neither flag says what becomes of it, when the journal is of other settings or in use, or cannot
    /// be written.
    pub(super) fn ledger(&self, settings: &Value, items: Vec<Result<Key, BadLine>>) -> Result<Ledger> {
        let path = journal_of(&self.output)?;
        self.refuse(&path)?;
        let journal = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let journal = journal.with_context(|| format!("cannot write {}", path.display()))?;
        match journal.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => bail!("{} is being written by another process", self.output.display()),
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
        let output = self.output.clone();
        let mut ledger = Ledger { output, path, journal, items, done: HashMap::new(), failed: BTreeMap::new(), end: 0, fresh: false };
        if self.resume {
            ledger.resume(settings)?
        } else {
            ledger.begin(settings)?
        }
        Ok(ledger)
    }

    fn refuse(&self, journal: &Path) -> Result<()> {
        if self.resume || self.overwrite {
            return Ok(());
        }
        if self.output.exists() {
            bail!("{} exists; --resume tries its failed items again, --overwrite replaces it", self.output.display());
        }
        if fs::metadata(journal).is_ok_and(|found| found.len() > 0) {
            bail!("an interrupted run has left {}; --resume goes on with it, --overwrite begins anew", journal.display());
        }
        Ok(())
    }
}

/// `.NAME.journal` beside the output.
fn journal_of(output: &Path) -> Result<PathBuf> {
    let name = output.file_name().ok_or_else(|| anyhow!("{} names no file", output.display()))?;
    Ok(output.with_file_name(format!(".{}.journal", name.to_string_lossy())))
}

/// A run that has finished nothing leaves nothing.
impl Drop for Ledger {
    fn drop(&mut self) {
        if self.fresh && self.done.is_empty() {
            let _ = fs::remove_file(&self.path);
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
        let place = self.append(line)?;
        self.journal.sync_data().with_context(|| format!("cannot write {}", self.path.display()))?;
        self.done.insert(item, place);
        Ok(())
    }

    /// Notes that an item cannot be done; a later --resume tries it again.
    pub(super) fn fail(&mut self, item: usize, error: &str) {
        self.failed.insert(item, error.to_owned());
    }

    /// Writes the output, whole, and removes the journal. Returns (items, failed items).
    pub(super) fn commit(mut self) -> Result<(usize, usize)> {
        let mut file = AtomicFile::create(&self.output, Existing::Replace)?;
        for item in 0..self.items.len() {
            let line = self.line(item)?;
            file.write_all(&line)
                .and_then(|()| file.write_all(b"\n"))
                .with_context(|| format!("cannot write {}", self.output.display()))?;
        }
        file.commit()?;
        fs::remove_file(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))?;
        Ok((self.items.len(), self.items.len() - self.done.len()))
    }

    fn line(&mut self, item: usize) -> Result<Vec<u8>> {
        let Some(&(start, length)) = self.done.get(&item) else {
            let told = match &self.items[item] {
                Ok(key) => json!({ "id": key.id, "error": self.failed.get(&item).map_or("not done", String::as_str) }),
                Err(bad) => json!({ "id": bad.id, "error": bad.error }),
            };
            return Ok(told.to_string().into_bytes());
        };
        let mut line = vec![0; length];
        let read = self.journal.seek(SeekFrom::Start(start)).and_then(|_| self.journal.read_exact(&mut line));
        read.with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(line)
    }

    /// Appends a line; returns its place without the line feed.
    fn append(&mut self, line: &Value) -> Result<(u64, usize)> {
        let mut bytes = line.to_string().into_bytes();
        bytes.push(b'\n');
        self.journal.write_all(&bytes).with_context(|| format!("cannot write {}", self.path.display()))?;
        let start = self.end;
        self.end += bytes.len() as u64;
        Ok((start, bytes.len() - 1))
    }

    fn begin(&mut self, settings: &Value) -> Result<()> {
        self.journal.set_len(0).with_context(|| format!("cannot write {}", self.path.display()))?;
        (self.end, self.fresh) = (0, true);
        self.append(&json!({ "settings": settings }))?;
        Ok(sync_dir(self.output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))?)
    }

    fn resume(&mut self, settings: &Value) -> Result<()> {
        self.journal.seek(SeekFrom::Start(0))?;
        let lines = whole_lines(&self.journal).with_context(|| format!("cannot read {}", self.path.display()))?;
        let Some((_, header)) = lines.first() else {
            self.begin(settings)?;
            return self.take_output();
        };
        if header.get("settings") != Some(settings) {
            bail!("{} is of other options; resume with those, or --overwrite begins anew", self.path.display());
        }
        let places = self.places();
        for ((start, length), line) in lines.iter().skip(1) {
            if let Some(&item) = item_of(&places, line) {
                self.done.insert(item, (*start, *length));
            }
        }
        self.end = lines.last().map_or(0, |((start, length), _)| start + *length as u64 + 1);
        self.journal.set_len(self.end).with_context(|| format!("cannot write {}", self.path.display()))?;
        self.take_output()
    }

    /// Takes over the good items of an output that is there.
    fn take_output(&mut self) -> Result<()> {
        let Ok(file) = File::open(&self.output) else { return Ok(()) };
        let lines = whole_lines(&file).with_context(|| format!("cannot read {}", self.output.display()))?;
        let places = self.places();
        for (_, line) in lines {
            if let Some(&item) = item_of(&places, &line).filter(|item| !self.done.contains_key(*item)) {
                let place = self.append(&line)?;
                self.done.insert(item, place);
            }
        }
        Ok(self.journal.sync_data()?)
    }

    fn places(&self) -> HashMap<String, (usize, Key)> {
        let keys = self.items.iter().enumerate().filter_map(|(item, key)| Some((item, key.as_ref().ok()?)));
        keys.map(|(item, key)| (key.id.clone(), (item, key.clone()))).collect()
    }
}

/// Which item a finished line is of; none for a line with an error, or of another input.
fn item_of<'a>(places: &'a HashMap<String, (usize, Key)>, line: &Value) -> Option<&'a usize> {
    let text = |field: &str| line.get(field).and_then(Value::as_str);
    let (item, key) = places.get(text("id")?)?;
    let same = text("prompt") == Some(&key.prompt) && key.response.as_deref().is_none_or(|response| text("response") == Some(response));
    (same && line.get("error").is_none()).then_some(item)
}

/// Lines of JSON that end with a line feed, with their places: the last may have been cut off by a crash, and nothing counts after one that is no
/// JSON.
fn whole_lines(file: &File) -> std::io::Result<Vec<((u64, usize), Value)>> {
    let (mut reader, mut start, mut lines) = (BufReader::new(file), 0, Vec::new());
    loop {
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line)?;
        let whole = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok());
        let Some(value) = whole else { return Ok(lines) };
        lines.push(((start, read - 1), value));
        start += read as u64;
    }
}
