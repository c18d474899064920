//! Chat templates: a conversation to the one text the model was tuned on, and the ids that end its turn.
//!
//! A template is a Jinja program that came with the checkpoint, so it is untrusted: it runs in minijinja, without files, Python or
//! network, under a fuel limit. Whitespace and the extra functions follow transformers `utils/chat_template_utils.py`. StableLM 2
//! has two dialects: zephyr's tags are plain text and end with `<|endoftext|>`, ChatML's are special tokens and end with
//! `<|im_end|>`; some 12B configurations name only the former, so generation stops at both.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{AutoEscape, Environment, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use crate::tokenizer::{Tokenizer, TokenizerError, json, special_tokens};

/// Instructions, and 64-byte units of text, a template may spend.
const FUEL: u64 = 2_000_000;
/// The longest template accepted, in bytes.
const MAX_TEMPLATE: usize = 1 << 20;
/// Tokens that end a turn in either dialect.
const END_OF_TURN: [&str; 2] = ["<|endoftext|>", "<|im_end|>"];

/// Why a conversation has no text.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The checkpoint has no template.
    #[error("{} has no chat template (neither chat_template.jinja nor `chat_template` in tokenizer_config.json): is it a base model?", .0.display())]
    Missing(PathBuf),
    /// The template is no Jinja, needs too much, or failed on this conversation.
    #[error("chat template: {0}")]
    Template(String),
    /// The template refuses this conversation (`raise_exception`).
    #[error("the chat template refuses this conversation: {0}")]
    Refused(String),
    /// A file beside the template is unreadable or malformed.
    #[error(transparent)]
    File(#[from] TokenizerError),
}

impl From<ChatError> for crate::Error {
    fn from(error: ChatError) -> Self {
        Self::Input(error.to_string())
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`, or what else the template knows.
    pub role: String,
    /// The text.
    pub content: String,
}

impl Message {
    /// A turn.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// A template and the special tokens it may mention.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
    tokens: HashMap<String, String>,
}

impl ChatTemplate {
    /// The checkpoint's own template: `chat_template.jinja`, else `chat_template` in `tokenizer_config.json` (a string, or a list
    /// of which `default` is taken).
    ///
    /// # Errors
    /// [`ChatError::Missing`] where there is none, [`ChatError::File`] and [`ChatError::Template`] where it cannot be read.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self, ChatError> {
        let folder = folder.as_ref();
        let file = folder.join("chat_template.jinja");
        let source = if file.exists() {
            let why = |error: std::io::Error| TokenizerError::File { path: file.clone(), why: error.to_string() };
            Some(fs::read_to_string(&file).map_err(why)?)
        } else {
            json(&folder.join("tokenizer_config.json"))?.as_ref().and_then(|config| in_config(config.get("chat_template")?))
        };
        let source = source.ok_or_else(|| ChatError::Missing(folder.to_path_buf()))?;
        Self::new(source, special_tokens(folder)?)
    }

    /// A template with the values of `eos_token`, `bos_token` and the like.
    ///
    /// # Errors
    /// [`ChatError::Template`] with the line where it is no Jinja.
    pub fn new(source: impl Into<String>, tokens: HashMap<String, String>) -> Result<Self, ChatError> {
        let source = source.into();
        if source.len() > MAX_TEMPLATE {
            return Err(ChatError::Template(format!("{} bytes are more than the {MAX_TEMPLATE} accepted", source.len())));
        }
        let source = without_generation_tags(&source);
        environment().template_from_str(&source).map_err(|error| failed(&error))?;
        Ok(Self { source, tokens })
    }

    /// ChatML, the dialect of stablelm-2-1_6b-chat and stablelm-2-12b-chat.
    ///
    /// # Errors
    /// None in practice; the template is parsed like any other.
    pub fn chatml() -> Result<Self, ChatError> {
        Self::new(include_str!("chat_templates/chatml.jinja"), HashMap::new())
    }

    /// Zephyr's plain-text tags, the dialect of stablelm-2-zephyr-1_6b.
    ///
    /// # Errors
    /// None in practice; the template is parsed like any other.
    pub fn zephyr() -> Result<Self, ChatError> {
        let tokens = HashMap::from([("eos_token".to_owned(), "<|endoftext|>".to_owned())]);
        Self::new(include_str!("chat_templates/zephyr.jinja"), tokens)
    }

    /// The conversation as one text; with `add_generation_prompt` it ends where the assistant's next turn begins.
    ///
    /// # Errors
    /// [`ChatError::Refused`] with the template's own words, [`ChatError::Template`] where it fails or runs out of fuel.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, ChatError> {
        let environment = environment();
        let template = environment.template_from_str(&self.source).map_err(|error| failed(&error))?;
        let tokens = Value::from_pairs(self.tokens.iter().map(|(name, token)| (name.as_str(), token.as_str())));
        let messages = Value::from(Serde(messages));
        template.render(context! { messages, add_generation_prompt, ..tokens }).map_err(|error| failed(&error))
    }
}

/// All ids that end a turn: those of the configuration, those of `generation_config.json` (a number or a list), and the end tokens
/// of both dialects where the tokenizer has them. Sorted, each once.
///
/// # Errors
/// [`ChatError::File`] where `generation_config.json` is malformed or its `eos_token_id` holds anything but ids.
pub fn stop_ids(folder: impl AsRef<Path>, config_eos: &[i64], tokenizer: Option<&Tokenizer>) -> Result<Vec<i64>, ChatError> {
    let path = folder.as_ref().join("generation_config.json");
    let config = json(&path)?.unwrap_or_default();
    let generation = match config.get("eos_token_id") {
        None | Some(serde_json::Value::Null) => Vec::new(),
        Some(value) => {
            ids(value).ok_or_else(|| TokenizerError::File { path, why: format!("eos_token_id {value} is no id and no list of ids") })?
        }
    };
    let known = END_OF_TURN.into_iter().filter_map(|token| tokenizer?.id(token)).map(i64::from);
    let mut all = config_eos.iter().copied().chain(generation).chain(known).collect::<Vec<_>>();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn ids(value: &serde_json::Value) -> Option<Vec<i64>> {
    let id = |value: &serde_json::Value| value.as_i64().filter(|&id| id >= 0);
    match value.as_array() {
        Some(list) => list.iter().map(id).collect(),
        None => id(value).map(|id| vec![id]),
    }
}

/// A template in `tokenizer_config.json`: a string, or the one named `default` of a list.
fn in_config(value: &serde_json::Value) -> Option<String> {
    let default =
        || value.as_array()?.iter().find(|entry| entry.get("name").is_some_and(|name| name == "default"))?.get("template")?.as_str();
    value.as_str().or_else(default).map(str::to_owned)
}

/// The tags `generation` and `endgeneration` only mark what to train on; a block that is always true renders the same.
fn without_generation_tags(source: &str) -> String {
    let mut parts = source.split("{%");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (tag, rest) = part.split_once("%}").map_or((part, None), |(tag, rest)| (tag, Some(rest)));
        let tag = match tag.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+') {
            "generation" => tag.replace("generation", "if true"),
            "endgeneration" => tag.replace("endgeneration", "endif"),
            _ => tag.to_owned(),
        };
        out.extend(["{%", &tag, rest.map_or("", |_| "%}"), rest.unwrap_or_default()]);
    }
    out
}

/// Jinja as transformers sets it up, without what reaches outside.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_filter("tojson", tojson);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().unwrap_or_default());
    environment
}

/// Marks an error as the template's own refusal.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

fn raise_exception(message: String) -> Result<Value, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(Refusal(message)))
}

fn strftime_now(format: &str) -> Result<String, minijinja::Error> {
    let now = jiff::ZonedDateTime::now();
    jiff::fmt::strtime::format(format, &now).map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

/// Python's `json.dumps(value, ensure_ascii=False, indent=indent)`: nothing is escaped for HTML, separators have spaces.
fn tojson(value: &Value, options: Kwargs) -> Result<String, minijinja::Error> {
    let indent = options.get::<Option<usize>>("indent")?.map(|indent| " ".repeat(indent.min(16)));
    options.assert_all_used()?;
    match indent {
        Some(indent) => dump(value, PrettyFormatter::with_indent(indent.as_bytes())),
        None => dump(value, Spaced),
    }
}

fn dump(value: &Value, formatter: impl Formatter) -> Result<String, minijinja::Error> {
    let bad = |error: &dyn std::fmt::Display| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string());
    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut out, formatter)).map_err(|error| bad(&error))?;
    String::from_utf8(out).map_err(|error| bad(&error))
}

/// JSON with a space after `,` and `:`.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// The template's own words where it refused, else minijinja's error and line.
fn failed(error: &minijinja::Error) -> ChatError {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(current) = cause {
        if let Some(Refusal(message)) = current.downcast_ref() {
            return ChatError::Refused(message.clone());
        }
        cause = current.source();
    }
    ChatError::Template(error.to_string())
}
