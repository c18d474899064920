//! The files that sentence-transformers puts around a model: its parts, how tokens are pooled, what is done to a text beforehand.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::EncoderError;
use super::folder::Folder;
use super::head::Pooling;

const FILE: &str = "modules.json";
const POOLING: &str = "config.json";

/// A sentence encoder's parts.
#[derive(Debug, Clone)]
pub(super) struct Modules {
    /// The folder of the network.
    pub(super) transformer: PathBuf,
    pub(super) pooling: Pooling,
    /// Tokens a text may have, where it is said.
    pub(super) max_length: Option<usize>,
    lower_case: bool,
    prompt: String,
}

#[derive(Debug, Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// `sentence_bert_config.json`.
#[derive(Debug, Default, Deserialize)]
struct Limits {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

/// `config_sentence_transformers.json`.
#[derive(Debug, Default, Deserialize)]
struct Prompts {
    #[serde(default)]
    prompts: Value,
    default_prompt_name: Option<String>,
}

impl Modules {
    pub(super) fn read(folder: &Folder) -> Result<Self, EncoderError> {
        let modules: Vec<Module> = folder.optional_json(FILE)?.unwrap_or_default();
        let (mut transformer, mut pooling) = (folder.clone(), Pooling::Mean);
        for module in &modules {
            let place = || Folder::new(&folder.file(&module.path));
            match module.kind.rsplit('.').next().unwrap_or_default() {
                "Transformer" => transformer = place(),
                "Pooling" => pooling = read_pooling(&place())?,
                "Normalize" => {}
                other => return Err(unsupported(folder, FILE, "type", other, "Transformer, Pooling, Normalize")),
            }
        }
        let Limits { max_seq_length, do_lower_case } = transformer.optional_json("sentence_bert_config.json")?.unwrap_or_default();
        let prompts: Prompts = folder.optional_json("config_sentence_transformers.json")?.unwrap_or_default();
        let prompt = prompts.default_prompt_name.and_then(|name| prompts.prompts[name].as_str().map(str::to_owned)).unwrap_or_default();
        Ok(Self { transformer: transformer.path, pooling, max_length: max_seq_length, lower_case: do_lower_case, prompt })
    }

    /// The text as the tokenizer gets it.
    pub(super) fn prepare(&self, text: &str) -> String {
        let text = format!("{}{text}", self.prompt);
        if self.lower_case { text.to_lowercase() } else { text }
    }
}

/// The one mode that is on: as `pooling_mode_…: true`, or by name.
fn read_pooling(folder: &Folder) -> Result<Pooling, EncoderError> {
    let settings: serde_json::Map<String, Value> = folder.json(POOLING)?;
    let flags = settings.iter().filter(|(_, on)| **on == Value::Bool(true)).filter_map(|(key, _)| key.strip_prefix("pooling_mode_"));
    let named = settings.get("pooling_mode").and_then(Value::as_str);
    let modes: Vec<&str> = flags.chain(named).collect();
    match modes.as_slice() {
        ["mean_tokens" | "mean"] => Ok(Pooling::Mean),
        ["cls_token" | "cls"] => Ok(Pooling::Cls),
        others => Err(unsupported(folder, POOLING, "pooling_mode", &others.join(" and "), "mean, cls")),
    }
}

fn unsupported(folder: &Folder, file: &str, key: &'static str, found: &str, supported: &str) -> EncoderError {
    let found = if found.is_empty() { "absent" } else { found };
    EncoderError::Unsupported { path: folder.file(file), key, found: found.to_owned(), supported: supported.to_owned() }
}
