//! What can go wrong between a repository id and a checkpoint on disk, each as one sentence that says what to do.

use std::path::PathBuf;

use crate::fs::FsError;

/// Why a pull or a look into the cache failed.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A repository id, revision, file name or hash that cannot be one, or that would leave the cache folder.
    #[error("{what} {name:?} is refused: {why}")]
    Name {
        /// What the name is of.
        what: &'static str,
        /// The name.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// Neither `HF_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("no place for the Hub cache: set HF_HOME or HF_HUB_CACHE")]
    NoCache,
    /// The settings hold something that cannot be an address or a token.
    #[error("{0}")]
    Settings(String),
    /// HTTP 401 or 403.
    #[error(
        "{endpoint} refuses access to {repo} (HTTP {status}): the repository is private, gated or not there; \
         accept its licence at {endpoint}/{repo} and set HF_TOKEN to a token of that account"
    )]
    Denied {
        /// Base address asked.
        endpoint: String,
        /// The repository.
        repo: String,
        /// The HTTP status.
        status: u16,
    },
    /// HTTP 404.
    #[error("{endpoint} has no {what} (HTTP 404)")]
    NotFound {
        /// Base address asked.
        endpoint: String,
        /// The repository, revision or file.
        what: String,
    },
    /// Any other status that is not success.
    #[error("{url} answered HTTP {status}")]
    Status {
        /// The address asked.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// An answer that does not follow the Hub's protocol.
    #[error("{url} answered nonsense: {why}")]
    Protocol {
        /// The address asked.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// No connection, or it broke before an answer came.
    #[error("cannot reach {url}: {reason}")]
    Network {
        /// The address asked.
        url: String,
        /// The transport's reason.
        reason: String,
    },
    /// The body ended early. The partial file is kept.
    #[error("{file} was cut off after {got} of {expected} bytes ({reason}); what came is kept, pull again to fetch the rest")]
    CutOff {
        /// The file's name in the repository.
        file: String,
        /// Bytes on disk.
        got: u64,
        /// Bytes announced.
        expected: u64,
        /// The transport's reason.
        reason: String,
    },
    /// The file's content is not what its hash says. The partial file is removed.
    #[error("{file} arrived damaged: its {algorithm} is {found}, expected {expected}; it was removed, pull again")]
    Hash {
        /// The file's name in the repository.
        file: String,
        /// `SHA-256` or `git SHA-1`.
        algorithm: &'static str,
        /// The hash the Hub names.
        expected: String,
        /// The hash of what came.
        found: String,
    },
    /// The repository cannot be loaded as a checkpoint.
    #[error("{repo} is no checkpoint that can be loaded: {why}")]
    NoCheckpoint {
        /// The repository.
        repo: String,
        /// What it lacks.
        why: &'static str,
    },
    /// Not in the cache, and the network is off limits.
    #[error("{repo} is not in the cache {} ({why}) and HF_HUB_OFFLINE forbids fetching it", cache.display())]
    Offline {
        /// The repository, with its revision.
        repo: String,
        /// Where was looked.
        cache: PathBuf,
        /// What the cache lacks.
        why: String,
    },
    /// Neither a folder nor a repository in the cache.
    #[error("{name}: no such folder, and no such model in the cache ({why}); run `coppice pull {name}`")]
    NotCached {
        /// What the caller asked for.
        name: String,
        /// What the cache lacks.
        why: String,
    },
    /// A local folder that is no checkpoint.
    #[error("{}: {why}", path.display())]
    NotAModel {
        /// The path.
        path: PathBuf,
        /// What it lacks.
        why: &'static str,
    },
    /// The cache could not be read or written.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl From<HubError> for crate::Error {
    fn from(error: HubError) -> Self {
        match error {
            HubError::Fs(error) => error.into(),
            other => Self::Input(other.to_string()),
        }
    }
}
