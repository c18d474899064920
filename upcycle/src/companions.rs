//! The files beside a checkpoint's weights that belong to every copy of it.

use std::io;
use std::path::{Path, PathBuf};

/// Neither weights nor configuration: what a reader needs to turn text into ids and back, and the licence.
const NAMES: [&str; 13] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "arcade100k.tiktoken",
    "tokenization_arcade100k.py",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "LICENSE",
];

/// Copies those that `from` has into the folder `to`.
///
/// # Errors
/// The system's, with the file that could not be copied.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), (PathBuf, io::Error)> {
    for name in NAMES.into_iter().filter(|name| from.join(name).is_file()) {
        std::fs::copy(from.join(name), to.join(name)).map_err(|error| (from.join(name), error))?;
    }
    Ok(())
}
