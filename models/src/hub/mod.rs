//! Checkpoints from the Hugging Face Hub, in the cache every other tool shares.
//!
//! The layout is huggingface_hub's (`models--org--name/{blobs,refs,snapshots/<commit>}`, relative links, locks under `.locks`), so
//! what Python fetched is found here and the reverse. The reference is huggingface_hub `file_download.py`. One difference: a
//! download that was cut off keeps its `<etag>.incomplete`, and the next one asks for the rest. Everything the server says
//! (names, hashes, sizes, redirects) is untrusted.

mod cache;
mod client;
mod download;
mod env;
mod error;
mod list;
mod names;
mod pull;
mod resolve;

pub use download::Verified;
pub use env::Settings;
pub use error::HubError;
pub use list::{CachedFile, CachedRepo, CachedRevision};
pub use names::RepoId;
pub use pull::{Progress, PullOptions, Pulled, PulledFile};

use cache::Cache;

/// The Hub as this process sees it: an endpoint, a token, a cache.
#[derive(Debug, Clone)]
pub struct Hub {
    settings: Settings,
    cache: Cache,
}

impl Hub {
    /// The Hub with given settings; touches neither disk nor network.
    pub fn new(settings: Settings) -> Self {
        let cache = Cache::new(settings.cache.clone());
        Self { settings, cache }
    }

    /// The Hub as the environment variables describe it (see [`Settings::from_env`]).
    ///
    /// # Errors
    /// A sentence where neither `HF_HUB_CACHE`, `HF_HOME` nor `HOME` says where the cache is, or the token file cannot be read.
    pub fn from_env() -> Result<Self, HubError> {
        Ok(Self::new(Settings::from_env()?))
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}
