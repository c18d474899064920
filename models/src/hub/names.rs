//! Names from outside (repository ids, revisions, file names, hashes) become paths only after passing here.

use std::fmt;
use std::str::FromStr;

use super::error::HubError;

/// A repository id, `name` or `org/name`, by the rules of huggingface_hub `utils/_validators.py`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepoId(String);

impl RepoId {
    /// The id as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The repository's folder in the cache, `models--org--name`.
    pub fn folder(&self) -> String {
        format!("models--{}", self.0.replace('/', "--"))
    }

    /// The repository a cache folder belongs to; `None` for other folders.
    pub fn from_folder(folder: &str) -> Option<Self> {
        folder.strip_prefix("models--")?.replace("--", "/").parse().ok()
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RepoId {
    type Err = HubError;

    fn from_str(id: &str) -> Result<Self, HubError> {
        let parts = id.split('/').collect::<Vec<_>>();
        let plain =
            |part: &&str| !part.is_empty() && part.bytes().all(is_plain) && !part.starts_with(['-', '.']) && !part.ends_with(['-', '.']);
        let fits = parts.len() <= 2 && id.len() <= 96 && parts.iter().all(plain) && !id.contains("--") && !id.contains("..");
        let why = "an id is `name` or `org/name` of at most 96 letters, digits, `-`, `_` and `.`, without `--` and `..`";
        if fits { Ok(Self(id.to_owned())) } else { Err(refused("repository id", id, why)) }
    }
}

/// A branch, tag, pull request (`refs/pr/1`) or commit.
pub(super) fn check_revision(revision: &str) -> Result<&str, HubError> {
    let sound = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(is_plain);
    let fits = revision.len() <= 200 && revision.split('/').all(sound) && !revision.contains("..");
    if fits { Ok(revision) } else { Err(refused("revision", revision, "expected a branch, a tag or a commit")) }
}

/// A full commit hash: 40 lower-case hexadecimal digits.
pub(super) fn is_commit(revision: &str) -> bool {
    is_hex(revision, 40)
}

/// A file of the repository, relative to its root.
pub(super) fn check_file(name: &str) -> Result<&str, HubError> {
    let sound = |part: &str| !part.is_empty() && part != "." && part != "..";
    let printable = !name.chars().any(|c| c.is_control() || c == '\\');
    let fits = name.len() <= 512 && printable && name.split('/').all(sound);
    if fits { Ok(name) } else { Err(refused("file name", name, "it would leave the snapshot's folder")) }
}

/// An `ETag` header's value, without weakness mark and quotes, fit to name a blob.
pub(super) fn check_etag(header: &str) -> Result<String, HubError> {
    let etag = header.trim().trim_start_matches("W/").trim_matches('"');
    let fits = !etag.is_empty() && etag.len() <= 128 && !etag.starts_with('.') && etag.bytes().all(is_plain);
    if fits { Ok(etag.to_owned()) } else { Err(refused("etag", header, "it cannot name a blob")) }
}

/// Whether `text` is exactly `digits` lower-case hexadecimal digits.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a checkpoint needs the file: configuration, weights, tokenizer, template and licence at the repository's root. Pickles
/// (`.bin`, `.pt`) and code are never fetched.
pub(super) fn is_wanted(name: &str) -> bool {
    const EXACT: [&str; 8] = [
        "config.json",
        "generation_config.json",
        "model.safetensors.index.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "merges.txt",
        "chat_template.jinja",
    ];
    let upper = name.to_uppercase();
    let tokenizer = name.starts_with("tokenizer") && name.ends_with(".json");
    let prose = ["LICENSE", "LICENCE", "README", "NOTICE"].iter().any(|stem| upper == *stem || upper.starts_with(&format!("{stem}.")));
    !name.contains('/') && (EXACT.contains(&name) || tokenizer || is_weights(name) || name.ends_with(".tiktoken") || prose)
}

/// Whether the file holds weights.
pub(super) fn is_weights(name: &str) -> bool {
    name.ends_with(".safetensors")
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn refused(what: &'static str, name: &str, why: &'static str) -> HubError {
    HubError::Name { what, name: name.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_hub() {
        for id in ["gpt2", "stabilityai/stablelm-2-1_6b", "a/b.c"] {
            assert_eq!(RepoId::from_folder(&id.parse::<RepoId>().unwrap().folder()).unwrap().as_str(), id);
        }
        for id in ["", "/", "a/b/c", "../b", "a/..", "a--b", "a/.b", "a/b-", "a b", "a\\b", "a/b\n", &"x".repeat(97)] {
            assert!(id.parse::<RepoId>().is_err(), "{id:?}");
        }
        assert!(RepoId::from_folder("datasets--a--b").is_none());
    }

    #[test]
    fn revisions_and_etags_cannot_leave_their_folder() {
        assert!(["main", "v1.0", "refs/pr/10", &"a".repeat(40)].into_iter().all(|revision| check_revision(revision).is_ok()));
        assert!(["", "..", "a/../b", "/a", "a//b", ".git", "a b", "a?b"].into_iter().all(|revision| check_revision(revision).is_err()));
        assert_eq!(check_etag("W/\"abc\"").unwrap(), "abc");
        assert!(["", "\"\"", "../x", "a/b", ".locks", "a\\b"].into_iter().all(|etag| check_etag(etag).is_err()));
    }

    #[test]
    fn files_stay_inside() {
        assert!(["config.json", "a/b/c.txt", "..a", "a b"].into_iter().all(|name| check_file(name).is_ok()));
        for name in ["", "..", "../x", "a/../x", "/etc/passwd", "a//b", "a\\b", "./a", "a\0b", "a\n", "a/"] {
            assert!(check_file(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn pickles_code_and_side_formats_are_not_wanted() {
        let wanted =
            ["config.json", "model-00001-of-00002.safetensors", "tokenizer_config.json", "arcade100k.tiktoken", "LICENSE.md", "README.md"];
        let unwanted =
            ["pytorch_model.bin", "a.pt", "modeling_x.py", "onnx/config.json", "model.gguf", "training_args.json", "READMEx.bin"];
        assert!(wanted.into_iter().all(is_wanted));
        assert!(!unwanted.into_iter().any(is_wanted));
    }
}
