//! The text an inspection runs on: tokenised documents, each with the domain it is from where that is known.

use std::path::Path;

use coppice_models::Config;
use coppice_models::score::check_tokens;
use coppice_models::tokenizer::{Tokenizer, TokenizerError};

use crate::convert::Result;
use crate::convert::options::require;
use crate::corpus::{self, CorpusError, Labelled};

/// Longest piece of a document that is run at once: fixed, so that the result does not hang on the batch size.
const LONGEST: usize = 2048;

/// A tokenised document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// Its ids.
    pub tokens: Vec<i64>,
    /// Where it is from: `code`, `law`, …
    pub domain: Option<String>,
}

/// Reads corpus files up to `limit` tokens in all, each file up to an equal share of them.
///
/// A line's own `domain` is its document's; without one, where there are several files, the file's name stands for it.
///
/// # Errors
/// One sentence for a file that cannot be read and for a malformed line, which is named.
pub fn read(files: &[impl AsRef<Path>], tokenizer: &Tokenizer, limit: usize) -> corpus::Result<Vec<Document>> {
    let mut documents = Vec::new();
    for (index, path) in files.iter().enumerate() {
        let share = limit * (index + 1) / files.len() - limit * index / files.len();
        let own = (files.len() > 1).then(|| stem(path.as_ref()));
        documents.extend(read_file(path.as_ref(), tokenizer, share, own.as_deref())?);
    }
    Ok(documents)
}

fn read_file(path: &Path, tokenizer: &Tokenizer, limit: usize, own: Option<&str>) -> corpus::Result<Vec<Document>> {
    let (mut documents, mut left) = (Vec::new(), limit);
    let mut lines = corpus::open(path)?.labelled();
    while left > 0 {
        let Some(line) = lines.next() else { break };
        let Labelled { text, domain } = line?;
        let ids = tokenizer.encode(&text).map_err(refused)?;
        let tokens: Vec<i64> = ids.into_iter().take(left).map(i64::from).collect();
        left -= tokens.len();
        documents.push(Document { tokens, domain: domain.or_else(|| own.map(str::to_owned)) });
    }
    Ok(documents)
}

fn refused(error: TokenizerError) -> CorpusError {
    CorpusError::Tokenizer(if let TokenizerError::Library(why) = error { why } else { error.to_string() })
}

/// The file's name up to its first dot.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// A stretch of a document that is run at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its ids, `[S]`.
    pub(super) tokens: Vec<i64>,
    /// Index of its domain in [`domains`].
    pub(super) domain: Option<usize>,
}

/// Names of the domains in order of appearance; empty where no document has one. Documents without one beside others are `other`.
pub(super) fn domains(documents: &[Document]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    if documents.iter().all(|document| document.domain.is_none()) {
        return names;
    }
    for document in documents.iter().filter(|document| !document.tokens.is_empty()) {
        let name = document.domain.as_deref().unwrap_or(OTHER);
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// What documents without a domain are called beside others.
const OTHER: &str = "other";

/// Cuts documents to what the model takes at once.
///
/// # Errors
/// When there is no token, or an id is outside the vocabulary.
pub(super) fn pieces(documents: &[Document], names: &[String], config: &Config) -> Result<Vec<Piece>> {
    let longest = LONGEST.min(config.max_position_embeddings as usize);
    let place = |document: &Document| names.iter().position(|name| name == document.domain.as_deref().unwrap_or(OTHER));
    let cut = |document: &Document| {
        let domain = place(document);
        document.tokens.chunks(longest).map(|tokens| Piece { tokens: tokens.to_vec(), domain }).collect::<Vec<_>>()
    };
    let pieces: Vec<Piece> = documents.iter().flat_map(cut).collect();
    require(!pieces.is_empty(), || "the text gives no token".into())?;
    pieces.iter().try_for_each(|piece| check_tokens(config, &piece.tokens))?;
    Ok(pieces)
}
