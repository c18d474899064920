//! The options that say how texts are compared, shared by the commands that score records.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use coppice_detect::Setup;
use coppice_detect::encoder::{open_entailment, open_similarity};
use coppice_detect::entailment::{Cached, Entailment, Served, Table};
use coppice_detect::fitted::Fitted;
use coppice_detect::server::Judge;
use coppice_detect::setup::Equivalence;
use coppice_detect::similarity::{HiddenStates, NormalisedExactMatch, RougeL, Similarity, TokenJaccard};
use serde_json::{Value, json};

use super::server::RemoteArgs;
use crate::common::read_text;
use crate::output;

const NAMES: &str = "exact_match, jaccard, rouge_l, hidden";
/// Texts whose judgements are remembered across records, bytes.
const REMEMBERED_BYTES: usize = 64 << 20;
/// From here on texts that are compared by their words count as one answer.
const WORDS_THRESHOLD: f64 = 0.5;

/// How texts are compared, and what was learnt beforehand. A DIR is the folder of a model: nothing is downloaded.
#[derive(Debug, Args)]
pub(super) struct SetupArgs {
    /// Similarity of answers and their parts (SAR, CoCoA): exact_match, jaccard, rouge_l, hidden (states in the record), or a sentence encoder.
    #[arg(long, value_name = "NAME|DIR", default_value = "rouge_l")]
    similarity: String,
    /// Similarity that weighs the graphs of answers (degmat, eccentricity, eigval_laplacian); the same choice.
    #[arg(long, value_name = "NAME|DIR", default_value = "jaccard")]
    graph_similarity: String,
    /// When two answers mean the same: their similarity, the same choice, reaches the threshold; nli: neither contradicts the other, and not
    /// both are neutral; nli_strict: each entails the other.
    #[arg(long, value_name = "NAME|DIR", default_value = "exact_match")]
    equivalence: String,
    /// The threshold of `--equivalence`, 0 to 1; default 0.5 where words are compared, none for hidden and encoders.
    #[arg(long, value_name = "T")]
    equivalence_threshold: Option<f64>,
    /// Who judges entailment: a classifier of it (BERT, RoBERTa, DeBERTa-v2/v3 or ModernBERT); judgements made elsewhere, lines of {"premise",
    /// "hypothesis", "entailment", "neutral", "contradiction"}; or a language model at a server.
    #[arg(long, value_name = "DIR|FILE.jsonl|URL")]
    nli: Option<String>,
    /// Learned scores (`coppice detect fit` makes them); no command judges them on records they were fitted on.
    #[arg(long, value_name = "FITTED.json")]
    fitted: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteArgs,
}

impl SetupArgs {
    /// Opens the models.
    pub(super) fn open(&self) -> Result<Setup> {
        let equivalence = self.equivalence()?;
        Ok(Setup {
            similarity: similarity("--similarity", &self.similarity)?,
            graph: similarity("--graph-similarity", &self.graph_similarity)?,
            equivalence,
            entailment: self.nli.as_ref().map(|nli| self.entailment(nli)).transpose()?,
            fitted: self.fitted.as_deref().map_or_else(|| Ok(Fitted::default()), fitted)?,
            ..Setup::default()
        })
    }

    /// What scores depend on beside the record: back-ends by name (of a folder or file the last part), the file of learned scores by its hash.
    ///
    /// # Errors
    /// When that file cannot be read.
    pub(super) fn description(&self) -> Result<Value> {
        let name = |text: &String| Path::new(text).file_name().map_or_else(|| text.clone(), |name| name.to_string_lossy().into_owned());
        let hash = |path: &PathBuf| Ok(blake3::hash(read_text(path)?.as_bytes()).to_hex()[..16].to_owned()) as Result<String>;
        Ok(json!({
            "similarity": name(&self.similarity), "graph_similarity": name(&self.graph_similarity), "equivalence": name(&self.equivalence),
            "equivalence_threshold": self.equivalence_threshold, "nli": self.nli.as_ref().map(name),
            "fitted": self.fitted.as_ref().map(hash).transpose()?,
        }))
    }

    /// A judge at a server, where its name is an address; else one by path. Pairs are asked about once while they are remembered.
    fn entailment(&self, nli: &str) -> Result<Box<dyn Entailment>> {
        if !nli.starts_with("http://") && !nli.starts_with("https://") {
            return entailment(Path::new(nli));
        }
        let judge = Judge::new(self.remote.open(nli)?, !self.remote.no_logprobs, 0);
        Ok(Box::new(Cached::new(Box::new(Served::new(judge, self.remote.concurrency())), REMEMBERED_BYTES)))
    }

    fn equivalence(&self) -> Result<Equivalence> {
        let judged = match self.equivalence.as_str() {
            "nli" => Equivalence::NoContradiction,
            "nli_strict" => Equivalence::Bidirectional,
            other => return Ok(Equivalence::Similar { threshold: self.threshold(other)?, by: similarity("--equivalence", other)? }),
        };
        if self.nli.is_none() {
            bail!("--equivalence {} needs a model: give --nli DIR|FILE.jsonl|URL", self.equivalence);
        }
        if self.equivalence_threshold.is_some() {
            bail!("--equivalence {} takes no --equivalence-threshold: the likeliest relation decides", self.equivalence);
        }
        Ok(judged)
    }

    fn threshold(&self, by: &str) -> Result<f64> {
        match self.equivalence_threshold {
            Some(threshold) if (0.0..=1.0).contains(&threshold) => Ok(threshold),
            Some(threshold) => bail!("--equivalence-threshold is {threshold}; expected 0 to 1"),
            None if by_words(by).is_some() => Ok(WORDS_THRESHOLD),
            None => {
                bail!("--equivalence {by} has no threshold that suits every model: give --equivalence-threshold, chosen on labelled data")
            }
        }
    }
}

/// Says on stderr how many texts did not fit a model, how many judgements were unclear, and how often a model failed: whether all went well.
pub(super) fn tell(setup: &Setup) -> bool {
    let truncated = setup.truncated();
    if truncated > 0 {
        output::say(format!("{truncated} texts or pairs were longer than the comparing models take, and were cut"));
    }
    let unclear = setup.entailment.as_ref().map_or(0, |judge| judge.unclear());
    if unclear > 0 {
        output::say(format!("{unclear} pairs got no clear judgement from the server's model, and count as neutral"));
    }
    let trouble = setup.trouble.told();
    if let Some((count, first)) = &trouble {
        output::say(format!("{count} scores are missing since a comparing model failed; the first failure: {first}"));
    }
    trouble.is_none()
}

fn fitted(path: &Path) -> Result<Fitted> {
    Fitted::from_json(&read_text(path)?).with_context(|| path.display().to_string())
}

/// The judgements of a file, or the model of a folder, which is asked once for each pair while the pair is remembered.
fn entailment(path: &Path) -> Result<Box<dyn Entailment>> {
    if !path.is_file() {
        return Ok(Box::new(Cached::new(open_entailment(path)?, REMEMBERED_BYTES)));
    }
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Box::new(Table::read(BufReader::new(file)).with_context(|| format!("--nli {}", path.display()))?))
}

fn by_words(name: &str) -> Option<Box<dyn Similarity>> {
    match name {
        "exact_match" => Some(Box::new(NormalisedExactMatch)),
        "jaccard" => Some(Box::new(TokenJaccard)),
        "rouge_l" => Some(Box::new(RougeL)),
        _ => None,
    }
}

fn similarity(option: &str, name: &str) -> Result<Box<dyn Similarity>> {
    match by_words(name) {
        Some(similarity) => Ok(similarity),
        None if name == "hidden" => Ok(Box::new(HiddenStates)),
        None if Path::new(name).is_dir() => Ok(open_similarity(name)?),
        None => bail!("{option} {name} is no folder; expected one, or one of {NAMES}"),
    }
}
