//! Reading corpora: documents one by one from `.jsonl` and `.txt` files, plain or Zstandard (`.jsonl.zst`, `.txt.zst`), and
//! their token ids.
//!
//! In `.jsonl` every line is one object and its string field `text` one document; other fields are ignored. A `.txt` file is one
//! document, whole: blank lines are part of the text. Anything malformed is an error that names the file and the line, never
//! skipped.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Deserialize;
use tokenizers::Tokenizer;

/// Largest Zstandard window accepted, log2 of bytes: 128 MiB.
const MAX_WINDOW_LOG: u32 = 27;
/// Documents that are tokenised at a time; bounds the memory and nothing else.
const DOCUMENTS_AT_A_TIME: usize = 4096;

/// Why a corpus could not be read or tokenised.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// The file could not be opened, read or decompressed.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's or the decompressor's reason.
        source: std::io::Error,
    },
    /// The file's name does not say what is in it.
    #[error("{path}: not a corpus by its name; expected .jsonl, .jsonl.zst, .txt or .txt.zst", path = .0.display())]
    UnknownKind(PathBuf),
    /// The file has no document.
    #[error("{path}: the file is empty", path = .0.display())]
    Empty(PathBuf),
    /// A line is not what it should be.
    #[error("{path}, line {line}: {reason}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The tokenizer refused a document or lacks the end-of-text token.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
}

/// Result with [`CorpusError`].
pub type Result<T> = std::result::Result<T, CorpusError>;

/// One line of a `.jsonl` corpus.
#[derive(Deserialize)]
struct Line {
    text: String,
    /// Of any type: only [`Documents::labelled`] looks at it.
    domain: Option<serde_json::Value>,
}

/// A document and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// Its text.
    pub text: String,
    /// The line's string field `domain`, where it has one.
    pub domain: Option<String>,
}

/// Iterates over the documents of one file. Ends after the first error.
pub struct Documents {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    /// A `.jsonl` file; else plain text.
    lines: bool,
    /// Lines read so far.
    line: usize,
    done: bool,
}

impl std::fmt::Debug for Documents {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Documents").field("path", &self.path).field("line", &self.line).finish_non_exhaustive()
    }
}

/// Opens a corpus file; documents are read as they are asked for.
///
/// # Errors
/// [`CorpusError::UnknownKind`] by the name, [`CorpusError::Io`] if it cannot be opened. The iterator gives
/// [`CorpusError::Line`], [`CorpusError::Empty`] and [`CorpusError::Io`].
pub fn open(path: &Path) -> Result<Documents> {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let (stem, compressed) = name.strip_suffix(".zst").map_or((name.as_str(), false), |stem| (stem, true));
    let lines = stem.ends_with(".jsonl");
    if !lines && !stem.ends_with(".txt") {
        return Err(CorpusError::UnknownKind(path.to_path_buf()));
    }
    let reader = reader(path, compressed).map_err(|source| io_error(path, source))?;
    Ok(Documents { path: path.to_path_buf(), reader, lines, line: 0, done: false })
}

fn reader(path: &Path, compressed: bool) -> std::io::Result<Box<dyn BufRead + Send>> {
    let file = File::open(path)?;
    if !compressed {
        return Ok(Box::new(BufReader::new(file)));
    }
    let mut decoder = zstd::Decoder::new(file)?;
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    Ok(Box::new(BufReader::new(decoder)))
}

impl Iterator for Documents {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().map(|line| line.map(|line| line.text))
    }
}

impl Documents {
    /// The documents with their domains. A `domain` that is no string is an error here, as any malformed line.
    pub fn labelled(mut self) -> impl Iterator<Item = Result<Labelled>> {
        std::iter::from_fn(move || {
            let line = self.advance()?;
            Some(line.and_then(|line| self.label(line)))
        })
    }

    fn label(&mut self, line: Line) -> Result<Labelled> {
        let domain = match line.domain {
            None | Some(serde_json::Value::Null) => None,
            Some(serde_json::Value::String(name)) => Some(name),
            Some(other) => {
                self.done = true;
                return Err(self.refuse(self.line, format!("domain is {other}, expected a string")));
            }
        };
        Ok(Labelled { text: line.text, domain })
    }

    fn advance(&mut self) -> Option<Result<Line>> {
        if self.done {
            return None;
        }
        let document = if self.lines { self.next_line() } else { self.whole_file() };
        self.done = !self.lines || !matches!(document, Some(Ok(_)));
        document
    }

    fn next_line(&mut self) -> Option<Result<Line>> {
        let mut bytes = Vec::new();
        match self.reader.read_until(b'\n', &mut bytes) {
            Err(source) => Some(Err(io_error(&self.path, source))),
            Ok(0) if self.line == 0 => Some(Err(CorpusError::Empty(self.path.clone()))),
            Ok(0) => None,
            Ok(_) => {
                self.line += 1;
                Some(self.parse(&bytes))
            }
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<Line> {
        let text = std::str::from_utf8(bytes).map_err(|_| self.refuse(self.line, "not UTF-8"))?;
        if text.trim().is_empty() {
            return Err(self.refuse(self.line, "the line is blank; expected an object with the string field \"text\""));
        }
        let line: Line = serde_json::from_str(text).map_err(|error| self.refuse(self.line, describe(&error)))?;
        if line.text.is_empty() { Err(self.refuse(self.line, "the document is empty")) } else { Ok(line) }
    }

    fn whole_file(&mut self) -> Option<Result<Line>> {
        let mut bytes = Vec::new();
        if let Err(source) = self.reader.read_to_end(&mut bytes) {
            return Some(Err(io_error(&self.path, source)));
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Some(Err(CorpusError::Empty(self.path.clone())));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            self.refuse(1 + good.iter().filter(|&&byte| byte == b'\n').count(), "not UTF-8")
        });
        Some(text.map(|text| Line { text, domain: None }))
    }

    fn refuse(&self, line: usize, reason: impl Into<String>) -> CorpusError {
        CorpusError::Line { path: self.path.clone(), line, reason: reason.into() }
    }
}

/// serde_json's sentence without its own line number, which is always 1 here.
fn describe(error: &serde_json::Error) -> String {
    let sentence = error.to_string();
    let sentence = sentence.split(" at line ").next().unwrap_or_default();
    format!("{sentence} (column {})", error.column())
}

fn io_error(path: &Path, source: std::io::Error) -> CorpusError {
    CorpusError::Io { path: path.to_path_buf(), source }
}

/// A corpus as token ids, documents one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizedCorpus {
    /// All token ids; each document is followed by the end-of-text token.
    pub tokens: Vec<u32>,
    /// Where each document starts in `tokens`, ascending.
    pub starts: Vec<usize>,
}

/// Tokenises documents in parallel, in their order, each followed by `eos`. Special tokens are not added otherwise.
///
/// # Errors
/// The documents' own first error; [`CorpusError::Tokenizer`] if `eos` is not in the vocabulary or a document cannot be encoded.
pub fn tokenize_documents(tokenizer: &Tokenizer, documents: impl IntoIterator<Item = Result<String>>, eos: u32) -> Result<TokenizedCorpus> {
    if tokenizer.id_to_token(eos).is_none() {
        return Err(CorpusError::Tokenizer(format!("the end-of-text token id {eos} is not in the vocabulary")));
    }
    let mut documents = documents.into_iter();
    let mut corpus = TokenizedCorpus::default();
    loop {
        let some: Vec<String> = documents.by_ref().take(DOCUMENTS_AT_A_TIME).collect::<Result<_>>()?;
        if some.is_empty() {
            return Ok(corpus);
        }
        corpus.append(encode(tokenizer, &some)?, eos);
    }
}

fn encode(tokenizer: &Tokenizer, documents: &[String]) -> Result<Vec<Vec<u32>>> {
    let ids = |text: &String| tokenizer.encode_fast(text.as_str(), false).map(|encoding| encoding.get_ids().to_vec());
    let encoded: std::result::Result<_, _> = documents.par_iter().map(ids).collect();
    encoded.map_err(|error: tokenizers::Error| CorpusError::Tokenizer(error.to_string()))
}

impl TokenizedCorpus {
    fn append(&mut self, documents: Vec<Vec<u32>>, eos: u32) {
        for ids in documents {
            self.starts.push(self.tokens.len());
            self.tokens.extend(ids);
            self.tokens.push(eos);
        }
    }
}
