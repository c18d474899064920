//! Texts and prompts as token ids.

use std::path::Path;

use anyhow::{Context, Result, bail};
use coppice_models::Checkpoint;
use coppice_models::tokenizer::Tokenizer;
use coppice_upcycle::convert::options::ExpertPrompts;
use serde::Deserialize;

use crate::common::read_text;
use crate::toml_file;

/// A file of prompts: mergekit's keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PromptFile {
    experts: Vec<PromptLists>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PromptLists {
    positive_prompts: Vec<String>,
    #[serde(default)]
    negative_prompts: Vec<String>,
}

/// The first `count` tokens of a text in sequences of the model's context.
pub(super) fn sequences(model: &Checkpoint, path: &Path, count: usize) -> Result<Vec<Vec<i64>>> {
    let ids = encode(&tokenizer(model)?, &read_text(path)?)?;
    let longest = model.config.max_position_embeddings as usize;
    Ok(ids[..ids.len().min(count)].chunks(longest).map(<[i64]>::to_vec).collect())
}

/// Prompts of a JSON or, by its name's end, TOML file: `{"experts": [{"positive_prompts": [..], "negative_prompts": [..]}]}`.
pub(super) fn prompts(model: &Checkpoint, path: &Path) -> Result<Vec<ExpertPrompts>> {
    let file: PromptFile = if path.extension().is_some_and(|end| end == "toml") {
        toml_file::read(path)?
    } else {
        serde_json::from_str(&read_text(path)?).with_context(|| format!("{}: not a file of prompts", path.display()))?
    };
    if file.experts.is_empty() {
        bail!("{}: the list of experts is empty", path.display());
    }
    let tokenizer = tokenizer(model)?;
    let all = |prompts: &[String]| prompts.iter().map(|prompt| encode(&tokenizer, prompt)).collect::<Result<Vec<_>>>();
    let expert =
        |lists: &PromptLists| Ok(ExpertPrompts { positive: all(&lists.positive_prompts)?, negative: all(&lists.negative_prompts)? });
    file.experts.iter().map(expert).collect()
}

fn tokenizer(model: &Checkpoint) -> Result<Tokenizer> {
    Ok(Tokenizer::load(&model.folder)?)
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<i64>> {
    Ok(tokenizer.encode(text)?.into_iter().map(i64::from).collect())
}
