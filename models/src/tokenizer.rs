//! Text to token ids and back, by the `tokenizers` crate, and the bytes of single tokens.
//!
//! StableLM's tokenizers are byte-level BPE (GPT-2's scheme): a token is a string of bytes and may hold part of a character, so
//! text can be shown token by token only as far as the characters are whole. [`TextStream`] does that.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::DecoderWrapper;

mod stream;

pub use stream::{Stop, TextStream, find_stop};

/// Why a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// A file that is absent, unreadable or not what its name says.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The folder has its vocabulary in a format only Python code beside it can read.
    #[error(
        "{} has no tokenizer.json, only {found}: save it once with transformers (AutoTokenizer.from_pretrained, then save_pretrained), or take \
         the tokenizer.json of stabilityai/stablelm-2-1_6b, which has the same vocabulary",
        folder.display()
    )]
    Tiktoken {
        /// The checkpoint folder.
        folder: PathBuf,
        /// The file that is there.
        found: String,
    },
    /// Text or ids the tokenizer refuses.
    #[error("tokenizer: {0}")]
    Library(String),
}

impl From<TokenizerError> for crate::Error {
    fn from(error: TokenizerError) -> Self {
        Self::Input(error.to_string())
    }
}

/// A checkpoint's tokenizer.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// Content of added tokens, which stand for themselves instead of for bytes in GPT-2's alphabet.
    added: HashMap<u32, String>,
    byte_level: bool,
    bos: Option<u32>,
    eos: Option<u32>,
}

impl Tokenizer {
    /// Loads `tokenizer.json` and, for the ids of beginning and end, `tokenizer_config.json` of a checkpoint folder.
    ///
    /// # Errors
    /// A sentence naming the file that is absent or broken.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self, TokenizerError> {
        let folder = folder.as_ref();
        let path = folder.join("tokenizer.json");
        if let (false, Some(found)) = (path.exists(), tiktoken_file(folder)) {
            return Err(TokenizerError::Tiktoken { folder: folder.to_path_buf(), found });
        }
        let bytes = fs::read(&path).map_err(|error| broken(&path, &error))?;
        let mut tokenizer = Self::from_bytes(&bytes).map_err(|error| broken(&path, &error))?;
        let special = special_tokens(folder)?;
        let id = |name: &str| special.get(name).and_then(|token| tokenizer.id(token));
        (tokenizer.bos, tokenizer.eos) = (id("bos_token"), id("eos_token"));
        Ok(tokenizer)
    }

    /// Reads the content of a `tokenizer.json`. Truncation and padding it may ask for are switched off.
    ///
    /// # Errors
    /// [`TokenizerError::Library`] with the place where the content is malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(library)?;
        inner.with_truncation(None).map_err(library)?;
        inner.with_padding(None);
        let added = inner.get_added_tokens_decoder().into_iter().map(|(id, token)| (id, token.content)).collect();
        let byte_level = inner.get_decoder().is_some_and(is_byte_level);
        Ok(Self { inner, added, byte_level, bos: None, eos: None })
    }

    /// The ids of a text. Special tokens written out in it are recognised; nothing is added before or after.
    ///
    /// # Errors
    /// [`TokenizerError::Library`] for text the tokenizer has no tokens for.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        Ok(self.inner.encode_fast(text, false).map_err(library)?.get_ids().to_vec())
    }

    /// The text of ids, special tokens and ids without a token left out; bytes that are no whole character become U+FFFD.
    ///
    /// # Errors
    /// [`TokenizerError::Library`] if the decoder refuses.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(ids, true).map_err(library)
    }

    /// What each id adds to the text, special tokens included. The pieces joined are the text: a character spread over several
    /// tokens stands at the token that completes it.
    ///
    /// # Errors
    /// [`TokenizerError::Library`] if the decoder refuses.
    pub fn pieces(&self, ids: &[u32]) -> Result<Vec<String>, TokenizerError> {
        let mut stream = TextStream::new(self);
        let mut pieces = ids.iter().map(|&id| stream.push(id)).collect::<Result<Vec<_>, _>>()?;
        if let Some(last) = pieces.last_mut() {
            last.push_str(&stream.finish());
        }
        Ok(pieces)
    }

    /// The bytes an id stands for; `None` for an id without a token.
    pub fn bytes(&self, id: u32) -> Option<Vec<u8>> {
        if let Some(content) = self.added.get(&id) {
            return Some(content.clone().into_bytes());
        }
        let token = self.inner.id_to_token(id)?;
        if self.byte_level { token.chars().map(byte_of).collect() } else { Some(self.inner.decode(&[id], false).ok()?.into_bytes()) }
    }

    /// The id of a token written as in the vocabulary.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The id of the beginning-of-text token, where `tokenizer_config.json` names one.
    pub fn bos_id(&self) -> Option<u32> {
        self.bos
    }

    /// The id of the end-of-text token, where `tokenizer_config.json` names one.
    pub fn eos_id(&self) -> Option<u32> {
        self.eos
    }

    /// Tokens, added ones included. A model's `vocab_size` may be larger: it is padded.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Ids below the model's `vocab_size` that no text has: padding, holes, and tokens that are named `<|unused…|>`.
    pub fn unused_ids(&self, vocab_size: i64) -> Vec<i64> {
        let unused = |id: u32| self.inner.id_to_token(id).is_none_or(|token| token.starts_with("<|unused"));
        let end = u32::try_from(vocab_size).unwrap_or_default();
        (0..end).filter(|&id| unused(id)).map(i64::from).collect()
    }
}

/// The special tokens a checkpoint names (`eos_token`, `bos_token`, …), each a string or an object with `content`.
pub(crate) fn special_tokens(folder: &Path) -> Result<HashMap<String, String>, TokenizerError> {
    let mut tokens = HashMap::new();
    for file in ["special_tokens_map.json", "tokenizer_config.json"] {
        let config = json(&folder.join(file))?.unwrap_or_default();
        for (name, value) in config.as_object().into_iter().flatten().filter(|(name, _)| name.ends_with("_token")) {
            if let Some(content) = value.as_str().or_else(|| value.get("content")?.as_str()) {
                tokens.insert(name.clone(), content.to_owned());
            }
        }
    }
    Ok(tokens)
}

/// A JSON file; `None` where there is none.
pub(crate) fn json(path: &Path) -> Result<Option<Value>, TokenizerError> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).map_err(|error| broken(path, &error))?;
    serde_json::from_str(&text).map(Some).map_err(|error| broken(path, &error))
}

fn tiktoken_file(folder: &Path) -> Option<String> {
    let names = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.into_iter().find(|name| name.ends_with(".tiktoken"))
}

fn is_byte_level(decoder: &DecoderWrapper) -> bool {
    match decoder {
        DecoderWrapper::ByteLevel(_) => true,
        DecoderWrapper::Sequence(parts) => parts.get_decoders().iter().any(is_byte_level),
        _ => false,
    }
}

/// GPT-2's alphabet: printable Latin-1 stands for itself, the other 68 bytes for the characters from U+0100 on, in order.
fn byte_of(character: char) -> Option<u8> {
    let own = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    match u32::from(character) {
        code @ 0..=0xFF => u8::try_from(code).ok().filter(own),
        code => (0..=u8::MAX).filter(|byte| !own(byte)).nth(code.checked_sub(0x100)? as usize),
    }
}

fn library(error: tokenizers::Error) -> TokenizerError {
    TokenizerError::Library(error.to_string())
}

fn broken(path: &Path, error: &dyn std::fmt::Display) -> TokenizerError {
    TokenizerError::File { path: path.to_path_buf(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_covers_every_byte_once() {
        // The two best-known members: a space is U+0120 and a line feed U+010A.
        assert_eq!((byte_of('\u{120}'), byte_of('\u{10A}'), byte_of('a'), byte_of(' ')), (Some(b' '), Some(b'\n'), Some(b'a'), None));
        let mut bytes = ('\0'..='\u{200}').filter_map(byte_of).collect::<Vec<_>>();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=u8::MAX).collect::<Vec<_>>());
    }
}
