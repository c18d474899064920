//! What the model has answered so far, on disk: an interrupted evaluation goes on at the item it was at.
//!
//! An answer is kept under what was asked, not under a number, so that it is found again after tasks were added, changed or given other
//! limits.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, bail};
use coppice_models::continuation::Continued;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::journal::Journal;

/// What the model answered to one question.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Log-probability in nats of each pair of context and continuation, and whether it was the most probable text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<(f64, bool)>,
    /// What it wrote: one text, or one for each turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
    /// What the judge said of each turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub judgements: Vec<String>,
}

impl Answer {
    /// Of scores.
    pub fn scored(scores: &[Continued]) -> Self {
        Self { scores: scores.iter().map(|score| (score.logprob, score.greedy)).collect(), ..Self::default() }
    }

    /// Of texts.
    pub fn written(texts: Vec<String>) -> Self {
        Self { texts, ..Self::default() }
    }

    /// The scores.
    pub fn continued(&self) -> Vec<Continued> {
        self.scores.iter().map(|&(logprob, greedy)| Continued { logprob, greedy }).collect()
    }
}

/// The answers of one model, beside an output.
#[derive(Debug)]
pub struct Cache {
    journal: Journal,
    known: HashMap<String, Answer>,
}

impl Cache {
    /// Opens the answers beside `output`: those of an interrupted run with `resume`, else none. `settings` are what answers depend on beside the
    /// question.
    ///
    /// # Errors
    /// When answers are there and neither `resume` nor `overwrite` says what becomes of them, when they are of other settings or in use, or the
    /// folder cannot be written.
    pub fn open(output: &Path, settings: &Value, resume: bool, overwrite: bool) -> Result<Self> {
        let path = Journal::path_of(output)?;
        if !resume && !overwrite && std::fs::metadata(&path).is_ok_and(|found| found.len() > 0) {
            bail!("an interrupted run has left {}; --resume goes on with it, --overwrite begins anew", path.display());
        }
        let mut cache = Self { journal: Journal::open(output)?, known: HashMap::new() };
        if resume {
            cache.recover(settings)?;
        } else {
            cache.begin(settings)?;
        }
        Ok(cache)
    }

    fn begin(&mut self, settings: &Value) -> Result<()> {
        self.journal.cut(0)?;
        self.journal.append(&json!({ "settings": settings })).map(drop)
    }

    fn recover(&mut self, settings: &Value) -> Result<()> {
        let lines = self.journal.recover()?;
        match lines.first() {
            None => return self.begin(settings),
            Some((_, header)) if header.get("settings") == Some(settings) => (),
            Some(_) => {
                bail!("{} is of another model or precision; resume with those, or --overwrite begins anew", self.journal.path().display())
            }
        }
        for (_, line) in lines.into_iter().skip(1) {
            self.known.extend(serde_json::from_value::<HashMap<String, Answer>>(line)?);
        }
        Ok(())
    }

    /// The answer to a question.
    pub fn get(&self, key: &str) -> Option<&Answer> {
        self.known.get(key)
    }

    /// Keeps answers: when this returns, not even a crash loses them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep(&mut self, answers: Vec<(String, Answer)>) -> Result<()> {
        let line: serde_json::Map<String, Value> =
            answers.iter().map(|(key, answer)| Ok((key.clone(), serde_json::to_value(answer)?))).collect::<Result<_>>()?;
        self.journal.append(&Value::Object(line))?;
        self.known.extend(answers);
        Ok(())
    }

    /// How many answers are kept.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Removes the file, after the results are written.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn close(self) -> Result<()> {
        self.journal.remove()
    }
}

/// What a question is kept under.
pub fn key(asked: &impl Serialize) -> Result<String> {
    Ok(blake3::hash(&serde_json::to_vec(asked)?).to_hex()[..32].to_owned())
}
